"""stream_seq and viewers' sequence numbers against a model, through an engine's ingest port."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from rtp.packet import RtpPacket
from rtp.payload.h264_packets import join_stap_a
from tests.support.chain import key_slice, other_slice, rtp
from tests.support.edge import Edge

SETS = join_stap_a([b"\x67\x42\xe0\x1f", b"\x68\xce"])
PADDING, SMALL, LARGE, KEY, LARGE_KEY = range(5)
PIECES = {PADDING: 0, SMALL: 1, LARGE: 3, KEY: 2, LARGE_KEY: 4}
FIRST_SEQ = 0xFFFFFFF0  # stream_seq wraps, too


def packet_of(number: int, kind: int) -> bytes:
    """Each packet is a picture of its own and carries its number."""
    text = b"%06d" % number
    if kind == PADDING:
        return RtpPacket(96, number & 0xFFFF, number * 3_000, 0x1234, padding_bytes=99).serialise()
    if kind in (LARGE, LARGE_KEY):
        text += bytes([number & 255]) * 3_000
    payload = key_slice(text) if kind in (KEY, LARGE_KEY) else other_slice(text)
    return rtp(number, number * 3_000 & 0xFFFFFFFF, payload, marker=True)


@dataclass
class Model:
    """Every number up to the newest has its places; what comes late must fit into its own."""

    first: int
    newest: int = -1
    places: dict[int, tuple[int, int]] = field(default_factory=dict)  # number -> (seq, how many)
    held: dict[int, int] = field(default_factory=dict)  # seq -> number
    next_seq: int = FIRST_SEQ

    def take(self, number: int, kind: int) -> None:
        if self.newest < 0:
            self.newest = number - 1
        count = PIECES[kind]
        if number > self.newest:
            for skipped in range(self.newest + 1, number):
                self.places[skipped] = (self.next_seq, 1)
                self.next_seq += 1
            self.places[number] = (self.next_seq, count)
            self.next_seq += count
            self.newest = number
        if number not in self.places or kind == PADDING:
            return  # before the first
        seq, room = self.places[number]
        if room != count:
            # Late: without sets it may fit, in pieces it does not.
            if kind != KEY:
                return
            count = 1
        for piece in range(count):
            self.held.setdefault((seq + piece) & 0xFFFFFFFF, number)


kinds = st.sampled_from([PADDING, SMALL, SMALL, SMALL, LARGE, KEY, LARGE_KEY])
# What becomes of a packet: lost, or delayed by so many packets, and perhaps sent again later.
fates = st.tuples(
    st.booleans(), st.sampled_from([0, 0, 0, 1, 2, 5, 30]), st.sampled_from([0, 0, 3, 40])
)


@settings(max_examples=60, deadline=None)
@given(
    first=st.integers(65_440, 65_535),
    packets=st.lists(st.tuples(kinds, fates, st.integers(0, 9)), min_size=2, max_size=90),
)
def test_numbers_follow_the_model(
    first: int, packets: list[tuple[int, tuple[bool, int, int], int]]
) -> None:
    arrivals: list[tuple[int, int, int]] = []
    kind_of: dict[int, int] = {}
    for at, (kind, (may_lose, delay, again), chance) in enumerate(packets):
        number = first + at
        kind_of[number] = kind
        if may_lose and chance < 3:
            continue
        arrivals.append((at + delay, at, number))
        if again:
            arrivals.append((at + delay + again, at, number))
    arrivals.sort()
    edge = Edge()
    stream = edge.add_track(first_seq=FIRST_SEQ, parameter_sets=SETS)
    edge.add_neighbour(stream)
    model = Model(first)
    for _, _, number in arrivals:
        model.take(number, kind_of[number])
        edge.encode(packet_of(number, kind_of[number]), after_us=500)
    edge.wait(50_000)
    got: dict[int, bytes] = {}
    for leg in edge.legs():
        assert leg.stream_seq not in got
        got[leg.stream_seq] = leg.rtp
    assert {seq: int.from_bytes(data[4:8]) // 3_000 for seq, data in got.items()} == {
        seq: (number * 3_000 & 0xFFFFFFFF) // 3_000 for seq, number in model.held.items()
    }
    for number, (seq, room) in model.places.items():
        pieces = [got.get((seq + piece) & 0xFFFFFFFF) for piece in range(room)]
        if room == PIECES[kind_of[number]] and all(pieces) and kind_of[number] in (KEY, LARGE_KEY):
            assert pieces[0] is not None
            assert pieces[0][12:] == SETS
        if room == 3 and all(pieces):
            fragments = [piece[12:] for piece in pieces if piece is not None]
            whole = fragments[0][:1] + b"".join(part[2:] for part in fragments)
            assert whole[1:] == packet_of(number, LARGE)[13:]


def test_no_gap_and_no_duplicate_over_many_wraps_worth_of_added_packets() -> None:
    """More pieces than packets: what a viewer counts runs ahead of what the encoder counts."""
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track(parameter_sets=SETS), first_number=65_000)
    sent = 0
    for number in range(65_400, 66_400):
        kind = (LARGE_KEY, SMALL, LARGE, PADDING)[number % 4]
        sent += PIECES[kind]
        edge.encode(packet_of(number, kind), after_us=1_000)
    numbers = [int.from_bytes(data[2:4]) for data in edge.media(viewer)]
    assert numbers == [(65_000 + n) & 0xFFFF for n in range(sent)]


def test_a_far_jump_goes_on_without_a_gap_and_forgets_what_was_added_before() -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track(parameter_sets=SETS))
    for number in range(65_530, 65_540):
        edge.encode(packet_of(number, LARGE_KEY))
    for number in range(20_000, 20_010):
        edge.encode(packet_of(number, SMALL))
    edge.encode(packet_of(19_999, SMALL), packet_of(65_539, SMALL))  # of before, and unconfirmed
    edge.encode(packet_of(20_010, SMALL))
    numbers = [int.from_bytes(data[2:4]) for data in edge.media(viewer)]
    assert numbers == [(65_530 + n) & 0xFFFF for n in range(40 + 9 + 1)]
    counted = edge.counted()
    assert counted["jump_unconfirmed"] == 2
    assert counted["too_old_for_ring"] == 1
