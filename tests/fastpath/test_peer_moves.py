"""A neighbour that comes back with another address, and others who say they are it."""

from __future__ import annotations

from fastpath import PortKind
from fastpath.events import HelloReceived, LinkKeyed, LinkMoved
from tests.support.chain import key
from tests.support.peer import HELLO, PEER, PeerBench

ELSEWHERE = ("203.0.113.5", 7100)
FURTHER = ("203.0.113.6", 7200)
CANDIDATE_US = 2_000_000
NODE = 2
Address = tuple[str, int]


class MovingPeer(PeerBench):
    """Keeps to whom the engine sends."""

    def hello(self, payload: bytes = b"hello", *, node: int = NODE, tag_key: bytes = b"") -> bytes:
        return self.packet(
            payload, kind=HELLO, hop_seq=0, stream_id=node, tag_key=tag_key or self.hello_key
        )

    def told(self, *datagrams: bytes, source: Address = PEER) -> list[Address]:
        """To whom the engine sends in answer to these datagrams."""
        given = [(self.port, source, data) for data in datagrams]
        sent = self.engine.turn(self.now_us, given)
        self.events += self.engine.events()
        return [to for _, to, _ in sent]

    def answer(self) -> list[Address]:
        """To whom a HELLO of ours goes."""
        self.engine.send_hello(self.link, b"answer")
        return self.told()

    def moves(self) -> list[LinkMoved]:
        return [event for event in self.events if isinstance(event, LinkMoved)]


def test_a_hello_from_elsewhere_is_answered_there_and_at_home() -> None:
    bench = MovingPeer()
    bench.told(bench.probe())
    bench.told(bench.hello(b"I am back"), source=ELSEWHERE)
    assert bench.events[-1] == HelloReceived(bench.link, b"I am back")
    assert sorted(bench.answer()) == sorted([PEER, ELSEWHERE])
    assert bench.moves() == []


def test_the_link_moves_with_the_first_authentic_packet_from_there() -> None:
    bench = MovingPeer()
    bench.told(bench.probe())
    bench.told(bench.hello(), source=ELSEWHERE)
    bench.engine.offer_keys(
        bench.link, receive_key=key("new peer"), send_key=key("new engine"), send_now=True
    )
    assert ELSEWHERE not in bench.told()  # nothing but HELLO goes there before
    bench.receive_key, bench.hop_seq = key("new peer"), 0
    bench.told(bench.probe(), source=ELSEWHERE)
    assert bench.moves() == [LinkMoved(bench.link, ELSEWHERE)]
    assert LinkKeyed(bench.link) in bench.events
    bench.now_us += 60_000
    assert set(bench.told()) <= {ELSEWHERE}
    assert bench.answer() == [ELSEWHERE]
    assert bench.counted()["peer_moved"] == 1
    bench.told(bench.media(1), source=ELSEWHERE)
    assert bench.engine.stream_stats(bench.stream).packets == 1
    bench.told(bench.media(2))  # home is nobody's now
    assert bench.counted()["unknown_peer"] == 1


def test_a_neighbour_that_kept_its_keys_may_move_as_well() -> None:
    bench = MovingPeer()
    bench.told(bench.media(1))
    bench.told(bench.media(2), source=ELSEWHERE)
    assert bench.counted()["unknown_peer"] == 1
    bench.told(bench.hello(), source=ELSEWHERE)
    bench.told(bench.media(3), source=ELSEWHERE)
    assert bench.moves() == [LinkMoved(bench.link, ELSEWHERE)]
    assert bench.engine.stream_stats(bench.stream).packets == 2


def test_a_replayed_hello_from_elsewhere_changes_nothing_lasting() -> None:
    bench = MovingPeer()
    bench.told(bench.media(1))
    hello, old = bench.hello(), bench.media(1, hop_seq=1)
    bench.told(hello)
    bench.told(hello, source=ELSEWHERE)
    bench.told(old, source=ELSEWHERE)  # replayed, too
    bench.told(bench.packet(b"x", kind=2, hop_seq=9, tag_key=key("guess")), source=ELSEWHERE)
    counted = bench.counted()
    assert (counted["replayed"], counted["bad_tag"]) == (1, 1)
    assert ELSEWHERE not in bench.told(bench.media(2))
    bench.now_us += CANDIDATE_US
    bench.told(bench.media(3))
    assert bench.answer() == [PEER]
    bench.told(bench.media(4), source=ELSEWHERE)
    assert bench.counted()["unknown_peer"] == 1
    assert bench.moves() == []
    assert bench.engine.stream_stats(bench.stream).packets == 3


def test_a_candidate_of_two_seconds_ago_is_not_answered() -> None:
    bench = MovingPeer()
    bench.told(bench.hello(), source=ELSEWHERE)
    bench.now_us += CANDIDATE_US - 1
    assert set(bench.answer()) == {PEER, ELSEWHERE}
    bench.now_us += 1
    assert set(bench.answer()) == {PEER}


def test_an_expired_candidate_is_no_way_to_move() -> None:
    """Nothing came meanwhile that could have cleared it."""
    bench = MovingPeer()
    bench.told(bench.hello(), source=ELSEWHERE)
    bench.now_us += CANDIDATE_US
    bench.told(bench.probe(), source=ELSEWHERE)
    assert bench.moves() == []
    assert bench.counted()["unknown_peer"] == 1
    bench.told(bench.hello(), source=ELSEWHERE)  # but it may say so again
    bench.told(bench.probe(), source=ELSEWHERE)
    assert bench.moves() == [LinkMoved(bench.link, ELSEWHERE)]


def test_the_newest_place_counts_and_a_neighbour_may_move_on_and_home_again() -> None:
    bench = MovingPeer()
    bench.told(bench.probe())
    bench.told(bench.hello(), source=ELSEWHERE)
    bench.told(bench.hello(), source=FURTHER)
    bench.told(bench.probe(), source=ELSEWHERE)
    assert bench.moves() == []
    bench.hop_seq += 1
    bench.told(bench.probe(), source=FURTHER)
    for place in (PEER, ELSEWHERE):
        bench.now_us += 100_000
        bench.told(bench.hello(), source=place)
        bench.told(bench.probe(), source=place)
    moved = [event.address for event in bench.moves()]
    assert moved == [FURTHER, PEER, ELSEWHERE]


def test_a_hello_from_home_takes_a_candidate_back() -> None:
    """The neighbour is at home after all: packets from there settle nothing else."""
    bench = MovingPeer()
    bench.told(bench.probe())
    bench.told(bench.hello(), source=ELSEWHERE)
    bench.told(bench.hello())
    bench.told(bench.probe())
    assert bench.moves() == []
    assert bench.engine.link_stats(bench.link).is_up


def test_strangers_are_looked_at_a_few_times_a_second_and_never_believed() -> None:
    bench = MovingPeer()
    bench.now_us += 1_000_000
    forged = [bench.hello(tag_key=key("guess")) for _ in range(50)]
    forged += [bench.hello(node=77) for _ in range(50)]
    before = bench.state()
    for data in forged:
        assert ELSEWHERE not in bench.told(data, source=ELSEWHERE)
    counted = bench.counted()
    assert counted["bad_tag"] + counted.get("unknown_peer", 0) == 20  # 200 ms at 100 a second
    assert counted["stranger_rate_limited"] == 80
    bench.told(bench.hello(), source=FURTHER)
    assert (
        bench.counted()["stranger_rate_limited"] == 81
    )  # for a moment it costs the right one, too
    bench.now_us += 10_000
    bench.told(bench.hello(), source=FURTHER)
    assert bench.events[-1] == HelloReceived(bench.link, b"hello")
    assert bench.state()[1:3] == before[1:3]  # type: ignore[index]
    # The neighbour at its own address was never slowed.
    bench.told(bench.probe(), bench.media(1))
    assert bench.engine.stream_stats(bench.stream).packets == 1


def test_of_several_links_only_the_named_neighbours_moves() -> None:
    bench = MovingPeer()
    engine = bench.engine
    other = engine.add_link(
        port=bench.port, address=FURTHER, peer_node=3, hello_key=key("third"), rate_bps=1_000_000
    )
    engine.offer_keys(other, receive_key=key("3 to me"), send_key=key("me to 3"), send_now=True)
    bench.told()
    bench.told(bench.hello(node=3), source=ELSEWHERE)  # the key is another neighbour's
    assert bench.counted()["bad_tag"] == 1
    bench.told(bench.hello(node=3, tag_key=key("third")), source=ELSEWHERE)
    assert bench.events[-1] == HelloReceived(other, b"hello")
    # Who comes from there is judged as that one.
    bench.told(bench.probe(), source=ELSEWHERE)
    assert bench.counted()["bad_tag"] == 2
    probe = bench.packet(bytes(20), kind=2, hop_seq=1, tag_key=key("3 to me"))
    bench.told(probe, source=ELSEWHERE)
    assert bench.moves() == [LinkMoved(other, ELSEWHERE)]
    bench.now_us += 60_000
    assert set(bench.told()) == {PEER, ELSEWHERE}
    engine.remove_link(other)
    bench.told(bench.hello(node=3, tag_key=key("third")), source=FURTHER)
    assert bench.counted()["unknown_peer"] == 1
    bench.told(bench.media(1))
    assert engine.stream_stats(bench.stream).packets == 1


def test_a_port_that_the_link_does_not_use_hears_no_hello_for_it() -> None:
    bench = MovingPeer()
    second = bench.engine.open_port(PortKind.OVERLAY)
    bench.turn(bench.hello(), source=ELSEWHERE, port=second)
    assert bench.counted() == {"unknown_peer": 1, "sent_packets": 1, "sent_batches": 1}
    assert bench.answer() == [PEER]
