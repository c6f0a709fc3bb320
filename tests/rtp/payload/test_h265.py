"""H.265 marks: structures of RFC 7798, sub-layers, pictures that nobody can decode, the twin."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.payload import h265, reference_h265
from rtp.payload.marks import Marks
from tests.rtp.payload.stories import check, random_story

START, END, KEY, GOP = Marks.FRAME_START, Marks.FRAME_END, Marks.KEY, Marks.GOP_START
DISCARDABLE = Marks.DISCARDABLE
HEAD = KEY | START | GOP
SEED = 7_798


def nal(kind: int, body: bytes = b"\x80abc", *, tid: int = 0, layer: int = 0) -> bytes:
    return bytes([kind << 1 | layer >> 5, (layer & 31) << 3 | tid + 1]) + body


def ap(*nals: bytes) -> bytes:
    return b"\x60\x01" + b"".join(len(each).to_bytes(2) + each for each in nals)


def fu(kind: int, ends: int, body: bytes = b"\x80abc", *, tid: int = 0) -> bytes:
    return bytes([49 << 1, tid + 1, ends | kind]) + body


def sps(sub_layers: int) -> bytes:
    return nal(33, bytes([sub_layers - 1 << 1 | 1, 0x40]))


VPS, PPS = nal(32, b"\x0c"), nal(34, b"\xc0")
TRAIL_N, TRAIL_R, TSA_N, RASL_N, RASL_R, BLA, IDR, CRA = 0, 1, 2, 8, 9, 16, 19, 21
LATER = b"\x40abc"  # not the first slice segment of its picture


def marks_of(*packets: bytes, begins: int = 1) -> list[Marks | None]:
    """Of a track that begins with them, each a frame of its own."""
    native, twin = h265.Marker(), reference_h265.Marker()
    found = [native.marks(packet, begins, False) for packet in packets]
    assert found == [twin.marks(packet, begins, False) for packet in packets]
    return [None if each is None else Marks(each) for each in found]


@pytest.mark.parametrize(
    ("payload", "begins", "expected"),
    [
        pytest.param(nal(IDR), 1, HEAD, id="key slice begins"),
        pytest.param(nal(IDR), 0, KEY, id="key slice continues"),
        pytest.param(nal(IDR), -1, HEAD, id="first slice of a key picture"),
        pytest.param(nal(IDR, LATER), -1, KEY, id="later slice of a key picture"),
        pytest.param(nal(CRA), 1, HEAD, id="CRA"),
        pytest.param(nal(BLA), 1, HEAD, id="BLA"),
        pytest.param(nal(22), 1, START, id="reserved IRAP"),
        pytest.param(VPS, -1, HEAD, id="VPS"),
        pytest.param(PPS, -1, HEAD, id="PPS"),
        pytest.param(nal(35, b"\x50"), -1, START, id="delimiter"),
        pytest.param(nal(39, b"\x01"), -1, START, id="SEI before the picture"),
        pytest.param(nal(40, b"\x01"), -1, Marks(0), id="SEI after it"),
        pytest.param(nal(38, b""), -1, Marks(0), id="filler"),
        pytest.param(nal(TRAIL_R), -1, START, id="P"),
        pytest.param(nal(TRAIL_R, LATER), -1, Marks(0), id="later slice of P"),
        pytest.param(nal(TRAIL_R, LATER), 1, START, id="the timestamp overrules the content"),
        pytest.param(nal(TRAIL_N), -1, START | DISCARDABLE, id="not referred to"),
        pytest.param(nal(TRAIL_N, LATER), 0, DISCARDABLE, id="later slice of that"),
        pytest.param(nal(TRAIL_N, b""), 0, DISCARDABLE, id="slice without a body"),
        pytest.param(ap(VPS, sps(1), PPS), -1, HEAD, id="parameter sets in one packet"),
        pytest.param(ap(nal(TRAIL_N), nal(TRAIL_R)), 0, Marks(0), id="one that is referred to"),
        pytest.param(ap(nal(TRAIL_N), nal(40)), 0, DISCARDABLE, id="with SEI"),
        pytest.param(ap(nal(TRAIL_N), PPS), 0, KEY, id="a parameter set is not discarded"),
        pytest.param(fu(IDR, 0x80), -1, HEAD, id="first fragment of a key slice"),
        pytest.param(fu(IDR, 0x00), -1, KEY, id="middle fragment"),
        pytest.param(fu(IDR, 0x80, LATER), -1, KEY, id="first fragment of a later slice"),
        pytest.param(fu(TRAIL_N, 0x40), 0, DISCARDABLE, id="last fragment"),
        pytest.param(fu(TRAIL_N, 0xC0, b""), 0, DISCARDABLE, id="whole and empty"),
        pytest.param(nal(TRAIL_N, layer=1), 0, Marks(0), id="enhancement layer"),
        pytest.param(nal(IDR, layer=33), 1, START, id="key picture of an enhancement layer"),
    ],
)
def test_marks(payload: bytes, begins: int, expected: Marks) -> None:
    for marker in (False, True):
        native, twin = h265.Marker(), reference_h265.Marker()
        assert native.marks(ap(VPS, sps(1), PPS), 1, False) == HEAD
        assert twin.marks(ap(VPS, sps(1), PPS), 1, False) == HEAD
        assert native.marks(payload, begins, marker) == expected | (END if marker else Marks(0))
        check(native, twin, [(payload[:size], begins, marker) for size in range(len(payload) + 1)])


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x02", id="half a header"),
        pytest.param(b"\x02\x00abc", id="temporal id of 0"),
        pytest.param(bytes([50 << 1, 1]) + b"\x62\x08abcdef", id="PACI"),
        pytest.param(bytes([63 << 1, 1]) + b"abc", id="unspecified structure"),
        pytest.param(b"\x62\x01", id="FU without header"),
        pytest.param(fu(48, 0x80), id="FU of an AP"),
        pytest.param(fu(49, 0x80), id="FU of a FU"),
        pytest.param(b"\x60\x01", id="AP with nothing in it"),
        pytest.param(b"\x60\x01\x00", id="AP with half a length"),
        pytest.param(b"\x60\x01\x00\x01\x02", id="AP with half a NAL unit"),
        pytest.param(ap(nal(1), b""), id="AP with an empty NAL unit"),
        pytest.param(ap(nal(1))[:-1], id="truncated AP"),
        pytest.param(ap(nal(1)) + b"\0", id="AP with a byte too many"),
        pytest.param(ap(nal(1), ap(nal(1))), id="AP in an AP"),
        pytest.param(ap(b"\x02\x00abc"), id="AP with a temporal id of 0"),
    ],
)
def test_malformed(payload: bytes) -> None:
    assert marks_of(payload) == [None]


def test_nothing_is_kept_of_a_malformed_packet() -> None:
    found = marks_of(ap(sps(1), b""), nal(TRAIL_N))
    assert found == [None, START]


def test_nothing_is_discardable_before_the_sub_layers_are_known() -> None:
    assert marks_of(nal(TRAIL_N), sps(1), nal(TRAIL_N))[::2] == [START, START | DISCARDABLE]


def test_only_the_highest_sub_layer_is_discardable() -> None:
    packets = [nal(kind, tid=tid) for tid in range(3) for kind in (TSA_N, TSA_N + 1)]
    _, *found = marks_of(sps(3), *packets)
    assert found == [START] * 4 + [START | DISCARDABLE, START]


def test_a_picture_above_the_announced_sub_layers_counts() -> None:
    _, before, _, after = marks_of(sps(1), nal(TRAIL_N), nal(TSA_N, tid=1), nal(TRAIL_N))
    assert (before, after) == (START | DISCARDABLE, START)


def test_sps_in_fragments() -> None:
    assert marks_of(fu(33, 0x80, b"\x01"), nal(TRAIL_N))[1] == START | DISCARDABLE
    assert marks_of(fu(33, 0x00, b"\x01"), nal(TRAIL_N))[1] == START


RASL = [nal(RASL_R), nal(RASL_N)]
NOBODYS = [START | DISCARDABLE] * 2
REFERRED = [START, START | DISCARDABLE]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param([nal(CRA)], NOBODYS, id="the stream begins at the CRA"),
        pytest.param([nal(IDR), nal(CRA)], REFERRED, id="a CRA on the way"),
        pytest.param([nal(IDR), nal(BLA)], NOBODYS, id="BLA"),
        pytest.param([nal(IDR), nal(BLA), nal(CRA)], REFERRED, id="the CRA after it"),
        pytest.param([nal(IDR), nal(36, b""), nal(CRA)], NOBODYS, id="end of sequence"),
        pytest.param([nal(IDR), nal(37, b""), nal(CRA)], NOBODYS, id="end of bitstream"),
    ],
)
def test_pictures_that_refer_to_what_was_before(before: list[bytes], expected: list[Marks]) -> None:
    assert marks_of(sps(1), *before, *RASL)[-2:] == expected


def test_slices_of_one_cra_are_one_picture() -> None:
    native, twin = h265.Marker(), reference_h265.Marker()
    story = [(sps(1), 1, False), (nal(CRA), 0, False), (nal(CRA, LATER), 0, True)]
    check(native, twin, story)
    assert native.marks(nal(RASL_R), 1, True) == START | END | DISCARDABLE


def test_has_sps() -> None:
    for payload in (sps(1), ap(VPS, sps(1), PPS), ap(PPS, sps(2)), fu(33, 0x80), nal(33, b"")):
        assert h265.has_sps(payload)
        assert reference_h265.has_sps(payload)
    for payload in (VPS, ap(VPS, PPS), fu(33, 0x00), fu(19, 0x80), nal(IDR), b"", b"\x62\x01"):
        assert not h265.has_sps(payload)


SEEDS = [
    *(VPS, sps(1), sps(3), PPS, ap(VPS, sps(1), PPS), ap(nal(TRAIL_N), nal(40, b"a"))),
    *(nal(kind) for kind in (TRAIL_N, TRAIL_R, RASL_N, RASL_R, BLA, IDR, CRA, 35, 36, 39)),
    *(nal(kind, LATER, tid=2) for kind in (TSA_N, IDR)),
    *(fu(33, 0x80, b"\x03"), fu(IDR, 0x80), fu(TRAIL_N, 0x40), fu(RASL_R, 0x00)),
]


def test_random_stories_agree_with_the_twin() -> None:
    rng = random.Random(SEED)
    for _ in range(2_000):
        check(h265.Marker(), reference_h265.Marker(), random_story(rng, SEEDS))


@given(st.lists(st.tuples(st.binary(max_size=12), st.integers(-1, 1), st.booleans()), max_size=4))
def test_any_bytes_agree_with_the_twin(story: list[tuple[bytes, int, bool]]) -> None:
    check(h265.Marker(), reference_h265.Marker(), story)
