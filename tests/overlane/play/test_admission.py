"""Packets of the track, forged ones, and those that come before the node has told of them."""

import random

from overlane.play.admission import MAX_WAITING, Admission, Arrival
from rtp.packet import RtpPacket

NODE, NEW_NODE, STRANGER = ("10.0.0.1", 7000), ("10.0.0.1", 7100), ("10.9.9.9", 9)


def arrival(
    number: int, *, ssrc: int = 7, source: tuple[str, int] = NODE, payload_type: int = 96
) -> Arrival:
    packet = RtpPacket(
        payload_type=payload_type, sequence_number=number & 0xFFFF, timestamp=0, ssrc=ssrc,
        payload=b"x",
    )  # fmt: skip
    return Arrival(packet, number, source)


def test_what_comes_before_the_answer_is_kept_for_it() -> None:
    admission = Admission()
    early = [
        arrival(65_534),
        arrival(65_535, ssrc=8),
        arrival(0),
        arrival(1, source=STRANGER, ssrc=9),
    ]
    assert [admission.admit(each) for each in early] == [False] * 4
    assert admission.announce(7, 96) == early[:3]
    assert admission.foreign == 1
    assert admission.admit(arrival(2))
    assert admission.foreign == 1


def test_strangers_and_other_payload_types_are_foreign() -> None:
    admission = Admission()
    admission.announce(7, 96)
    assert admission.admit(arrival(1))
    assert not admission.admit(arrival(2, source=STRANGER, ssrc=8))
    assert not admission.admit(arrival(3, payload_type=97))
    assert admission.announce(7, 96) == []
    assert admission.foreign == 2


def test_the_node_may_go_on_under_another_ssrc() -> None:
    admission = Admission()
    admission.announce(7, 96)
    assert admission.admit(arrival(1))
    assert admission.admit(arrival(40_000, ssrc=8))


def test_a_restarted_node_sends_from_another_port_and_tells_later() -> None:
    admission = Admission()
    admission.announce(7, 96)
    assert admission.admit(arrival(1))
    after = [arrival(number, ssrc=8, source=NEW_NODE) for number in (65_535, 0)]
    assert not any(admission.admit(each) for each in after)
    assert admission.announce(8, 96) == after
    assert admission.foreign == 0


def test_a_flood_of_forged_packets_takes_bounded_memory_and_hides_nothing() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    rng = random.Random(seed)
    admission = Admission()
    admission.announce(7, 96)
    for number in range(3 * MAX_WAITING):
        forged = arrival(number, ssrc=rng.randrange(8, 1 << 32), source=STRANGER)
        assert not admission.admit(forged)
        assert admission.admit(arrival(number))
    assert admission.announce(7, 96) == []
    assert admission.foreign == 3 * MAX_WAITING
