"""The handshake between two sides over a wire that delays, loses and replays.

`Side` stands for the engine: it holds keys as the contract says and knows which packets verify.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from relay.handshake import (
    ANSWER_GAP_US,
    CANDIDATE_HOLD_US,
    FIRST_RETRY_US,
    LONGEST_RETRY_US,
    NO_NONCE,
    Handshake,
    HandshakeEvent,
    OfferKeys,
    PeerRestarted,
    SendHello,
)
from relay.hkdf import Endpoint

SECRET = bytes(range(32))
Keys = tuple[bytes, bytes]


@dataclass
class Side:
    """A handshake, and an engine's keys: current (receive, send), offered, and sending."""

    handshake: Handshake
    current: Keys | None = None
    offered: Keys | None = None
    send_key: bytes | None = None
    restarts: int = 0
    hellos: list[bytes] = field(default_factory=list)

    def drain(self) -> list[bytes]:
        """Carry out what it wants; the HELLOs to send."""
        sent = []
        while (event := self.handshake.next_event()) is not None:
            match event:
                case SendHello(payload):
                    sent.append(payload)
                case OfferKeys(receive_key, send_key, send_now):
                    self.offered = receive_key, send_key
                    if send_now and self.current is None:
                        self.send_key = send_key
                case PeerRestarted():
                    self.restarts += 1
        self.hellos += sent
        return sent

    def on_packet(self, key: bytes) -> bool:
        """A packet sent under `key`; whether it verified."""
        if self.current is not None and key == self.current[0]:
            return True
        if self.offered is None or key != self.offered[0]:
            return False
        self.current, self.offered = self.offered, None
        self.send_key = self.current[1]
        self.handshake.on_keyed()
        self.drain()
        return True


def side(own: int, seed: int, now_us: int = 0) -> Side:
    return Side(
        Handshake(
            own=Endpoint(own),
            peer=Endpoint(3 - own),
            secret=SECRET,
            rng=Random(seed),
            start_us=now_us,
        )
    )


def deliver(to: Side, hellos: list[bytes], now_us: int) -> list[bytes]:
    answers = []
    for hello in hellos:
        to.handshake.on_hello(hello, now_us)
        answers += to.drain()
    return answers


def exchange(a: Side, b: Side, now_us: int) -> None:
    """One round without loss: timers, HELLOs until none is left, one packet each way."""
    for one in (a, b):
        one.handshake.handle_timer(now_us)
    to_b, to_a = a.drain(), b.drain()
    for _ in range(10):
        to_a, to_b = deliver(b, to_b, now_us), deliver(a, to_a, now_us)
        for one, other in ((a, b), (b, a)):
            if one.send_key is not None:
                other.on_packet(one.send_key)
    assert not to_a
    assert not to_b


def keyed_pair() -> tuple[Side, Side]:
    a, b = side(1, 1), side(2, 2)
    exchange(a, b, 0)
    assert is_keyed(a, b)
    return a, b


def is_keyed(a: Side, b: Side) -> bool:
    return (
        a.current is not None
        and b.current is not None
        and a.current == b.current[::-1]
        and a.handshake.state == b.handshake.state == "keyed"
    )


def test_simultaneous_start() -> None:
    a, b = keyed_pair()
    assert (a.restarts, b.restarts) == (0, 0)
    assert a.handshake.next_timer_us() is None
    assert len(a.hellos) <= 3
    assert len(b.hellos) <= 3


def test_one_side_starts_later() -> None:
    a = side(1, 1)
    a.handshake.handle_timer(0)
    assert a.drain()  # nobody hears it
    b = side(2, 2, now_us=50_000)
    exchange(b, a, 50_000)
    assert is_keyed(a, b)


def test_hello_repeats_with_back_off_until_somebody_is_heard() -> None:
    a = side(1, 1)
    assert a.handshake.next_timer_us() == 0
    gaps, now_us = [], 0
    for _ in range(9):
        a.handshake.handle_timer(now_us)
        due_us = a.handshake.next_timer_us()
        assert due_us is not None
        a.handshake.handle_timer(due_us - 1)
        gaps.append(due_us - now_us)
        now_us = due_us
    assert len(a.drain()) == 9
    assert len(set(a.hellos)) == 1
    assert a.hellos[0][16:] == NO_NONCE
    expected = [min(FIRST_RETRY_US << n, LONGEST_RETRY_US) for n in range(9)]
    assert all(full * 3 // 4 < gap <= full for gap, full in zip(gaps, expected, strict=True))
    a.handshake.on_hello(b"p" * 16 + NO_NONCE, now_us)
    assert a.handshake.next_timer_us() == min(now_us + FIRST_RETRY_US, now_us)
    a.handshake.handle_timer(now_us)
    due_us = a.handshake.next_timer_us()
    assert due_us is not None
    assert due_us - now_us <= FIRST_RETRY_US


def test_any_single_hello_may_be_lost() -> None:
    for lost in range(6):
        a, b = side(1, 10 + lost), side(2, 20 + lost)
        number, now_us = 0, 0
        while not is_keyed(a, b):
            assert now_us < 2_000_000, f"not keyed with HELLO {lost} lost"
            for one in (a, b):
                one.handshake.handle_timer(now_us)
            wire = [(b, hello) for hello in a.drain()] + [(a, hello) for hello in b.drain()]
            while wire:
                to, hello = wire.pop(0)
                if number != lost:
                    answers = deliver(to, [hello], now_us)
                    wire += [(a if to is b else b, answer) for answer in answers]
                number += 1
            for one, other in ((a, b), (b, a)):
                if one.send_key is not None:
                    other.on_packet(one.send_key)
            now_us += 10_000


def test_restart_of_either_side_is_seen_by_the_other() -> None:
    for restarted in (1, 2):
        a, b = keyed_pair()
        old = a.current
        stays = b if restarted == 1 else a
        new = side(restarted, 99, now_us=3_000_000)
        exchange(new, stays, 3_000_000)
        assert is_keyed(new, stays)
        assert (new.restarts, stays.restarts) == (0, 1)
        assert new.current not in (old, old and old[::-1])


def test_restart_after_the_link_was_seen_down() -> None:
    a, _b = keyed_pair()
    a.handshake.on_link_down(2_000_000)
    assert a.handshake.state == "down"
    assert a.handshake.next_timer_us() == 2_000_000
    a.handshake.handle_timer(2_000_000)
    (hello,) = a.drain()
    new = side(2, 98, now_us=2_100_000)
    answers = deliver(new, [hello], 2_100_000)
    assert answers
    exchange(new, a, 2_100_000)
    assert is_keyed(a, new)
    assert a.restarts == 1


def test_both_restart() -> None:
    a, b = side(1, 71), side(2, 72)
    exchange(a, b, 5_000_000)
    assert is_keyed(a, b)


def test_an_outage_without_restart_keeps_the_keys() -> None:
    a, b = keyed_pair()
    keys = a.current
    for one in (a, b):
        one.handshake.on_link_down(1_000_000)
    for one, other in ((a, b), (b, a)):
        one.handshake.handle_timer(1_000_000)
        assert deliver(other, one.drain(), 1_000_000) == []
    for one in (a, b):
        one.handshake.on_link_up()
    assert is_keyed(a, b)
    assert a.current == keys
    assert (a.restarts, b.restarts) == (0, 0)
    assert a.handshake.next_timer_us() is None


def test_replayed_hellos_change_nothing_for_a_keyed_pair() -> None:
    old_a, old_b = keyed_pair()
    recorded = {1: old_a.hellos, 2: old_b.hellos}
    a, b = side(1, 31), side(2, 32)
    exchange(a, b, 0)
    keys = a.current
    for now_us in range(1_000_000, 9_000_000, 300_000):
        deliver(a, recorded[2] + b.hellos, now_us)
        deliver(b, recorded[1] + a.hellos, now_us)
        for sent_by_old in (old_a.current, old_b.current):
            assert sent_by_old is not None
            assert not a.on_packet(sent_by_old[1])
            assert not b.on_packet(sent_by_old[1])
    assert a.current == keys
    assert is_keyed(a, b)
    assert (a.restarts, b.restarts) == (0, 0)


def test_a_replay_before_the_start_does_not_keep_the_peer_out() -> None:
    _, old_b = keyed_pair()
    a, b = side(1, 41), side(2, 42)
    deliver(a, old_b.hellos, 0)
    assert old_b.current is not None
    assert not a.on_packet(old_b.current[1])
    exchange(a, b, 10_000)
    assert is_keyed(a, b)


def test_a_restart_is_noticed_in_spite_of_replays() -> None:
    a, _b = keyed_pair()
    deliver(a, [b"r" * 16 + NO_NONCE], 1_000_000)  # as a recording of a session long past would
    new = side(2, 97, now_us=1_000_000 + CANDIDATE_HOLD_US + 1)
    exchange(new, a, 1_000_000 + CANDIDATE_HOLD_US + 1)
    assert is_keyed(a, new)
    assert a.restarts == 1


def test_replays_do_not_delay_a_restart() -> None:
    """Recorded HELLOs of many sessions, one before each real one."""
    a, _b = keyed_pair()
    start_us = 1_000_000
    new = side(2, 97, now_us=start_us)
    for attempt in range(3):
        now_us = start_us + attempt * ANSWER_GAP_US
        deliver(a, [bytes([attempt + 1]) * 16 + NO_NONCE], now_us)
    now_us += ANSWER_GAP_US
    exchange(new, a, now_us)
    assert is_keyed(a, new)
    assert a.restarts == 1
    assert now_us - start_us < CANDIDATE_HOLD_US


def test_replays_between_the_steps_of_a_handshake_change_nothing() -> None:
    a, _b = keyed_pair()
    new = side(2, 97, now_us=1_000_000)
    new.handshake.handle_timer(1_000_000)
    hellos = new.drain()
    for step in range(4):
        now_us = 1_000_000 + step * ANSWER_GAP_US
        answers = deliver(a, hellos, now_us)
        deliver(a, [bytes([step + 1]) * 16 + NO_NONCE], now_us)
        hellos = deliver(new, answers, now_us)
    assert new.send_key is not None
    assert a.on_packet(new.send_key)
    assert a.send_key is not None
    assert new.on_packet(a.send_key)
    assert is_keyed(a, new)


def test_a_session_that_gave_way_does_not_come_back() -> None:
    """Its keys may have been used for sending: offered again, hop_seq would begin at 1 again."""
    a = side(1, 1)
    a.handshake.handle_timer(0)
    (hello,) = a.drain()
    offers = []
    for number, peer in enumerate((b"1" * 16, b"2" * 16, b"1" * 16)):
        deliver(a, [peer + hello[:16]], number)
        offers.append(a.offered)
    assert offers[0] != offers[1]
    assert offers[2] == offers[1]
    assert a.handshake.ignored == 1


def test_answers_are_rate_limited() -> None:
    a, b = keyed_pair()
    stale = b.hellos[0][:16] + b"x" * 16
    answers = [deliver(a, [stale], 1_000_000 + n * 1_000) for n in range(100)]
    assert sum(map(len, answers)) == 100_000 // ANSWER_GAP_US


def test_malformed_hellos_are_counted() -> None:
    a = side(1, 1)
    for payload in (b"", bytes(32), b"x" * 31, b"x" * 33):
        a.handshake.on_hello(payload, 0)
    assert a.handshake.malformed == 4
    assert a.drain() == []


def test_keys_are_offered_once_and_again_with_the_proof() -> None:
    a = side(1, 1)
    own = a.handshake
    own.handle_timer(0)
    (hello,) = a.drain()
    events: list[HandshakeEvent] = []
    for ours in (NO_NONCE, NO_NONCE, hello[:16], hello[:16]):
        own.on_hello(b"p" * 16 + ours, 1_000_000)
        while (event := own.next_event()) is not None:
            events.append(event)
    offers = [event.send_now for event in events if isinstance(event, OfferKeys)]
    assert offers == [False, True]
