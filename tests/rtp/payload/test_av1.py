"""AV1 marks: aggregation headers, OBUs, frame headers, the twin on random and broken input."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.payload import av1, reference_av1
from rtp.payload.marks import Marks
from tests.rtp.encoders import encode
from tests.rtp.payload.stories import GUARDED, check, random_story

START, END, DISCARDABLE = Marks.FRAME_START, Marks.FRAME_END, Marks.DISCARDABLE
KEY = Marks.KEY
HEAD = KEY | START | Marks.GOP_START
Z, Y, N, W1, W2 = 0x80, 0x40, 0x08, 0x10, 0x20
SEED = 1_000


def bits(text: str) -> bytes:
    """Zeros and ones, with spaces between fields, filled up with zeros."""
    digits = text.replace(" ", "")
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8)


def sequence(*, model: bool = False, frame_ids: bool = False, reduced: bool = False) -> bytes:
    """An OBU: order hints of 7 bits, screen content tools off, as the encoder chooses."""
    if reduced:
        return b"\x08" + bits("000 1 1 00000 0000 0000 0 0 0000000")
    timing = "1" + "0" * 31 + "1" + "0" * 31 + "1 0 1" + "1 00000" + "0" * 42 if model else "0"
    point = "000000000000 00100" + (" 0" if model else "")
    ids = "1 0010 011" if frame_ids else "0"
    tools = "000 0000 1 00 0 0 110"
    return b"\x08" + bits(f"000 0 0 {timing} 0 00000 {point} 0111 0111 {'0' * 16} {ids} {tools}")


def frame(
    kind: int, updates: int = 0, *, shown: bool = True, resilient: bool = False, ids: int = 0
) -> bytes:
    """An OBU_FRAME after `sequence()`: existing, type, shown, showable or not, resilient, ..."""
    header = f"0 {kind:02b} {int(shown)}"
    if shown and kind == 0:
        return b"\x30" + bits(header + "0 0") + b"data"
    header += "" if shown else "1"
    header += f" {int(resilient)} 0 {'0' * ids} 0 0000001"
    header += " 111" if kind == 1 and not resilient else ""
    return b"\x30" + bits(f"{header} {updates:08b}") + b"data"


SEQUENCE = sequence()
KEY_FRAME, INTER, UNREFERENCED = frame(0), frame(1, 4), frame(1)
SHOW_EXISTING = b"\x18" + bits("1 010")
TILES = b"\x20tiles"


def packet(header: int, *obus: bytes) -> bytes:
    """All but the last with a length, if the header counts them; else each."""
    counted = header >> 4 & 3
    parts = [bytes([len(obu)]) + obu for obu in obus]
    if counted:
        parts[-1] = obus[-1]
    return bytes([header]) + b"".join(parts)


def marks_of(*packets: tuple[bytes, int]) -> list[Marks | None]:
    """Of a track that begins with these payloads, each with its `begins`."""
    story = [(payload, begins, False) for payload, begins in packets]
    check(av1.Marker(), reference_av1.Marker(), story)
    native = av1.Marker()
    found = [native.marks(payload, begins, False) for payload, begins in packets]
    return [None if each is None else Marks(each) for each in found]


BEGUN = (packet(N | W2, SEQUENCE, KEY_FRAME), 1)


@pytest.mark.parametrize(
    ("payload", "begins", "expected"),
    [
        pytest.param(packet(W1, INTER), 1, START, id="updates a reference"),
        pytest.param(packet(W1, UNREFERENCED), 1, START | DISCARDABLE, id="updates none"),
        pytest.param(packet(W1, UNREFERENCED), 0, KEY, id="in a key temporal unit"),
        pytest.param(packet(W1, UNREFERENCED), -1, DISCARDABLE, id="after a loss"),
        pytest.param(packet(W1, frame(1, resilient=True)), 1, START | DISCARDABLE, id="resilient"),
        pytest.param(packet(W1, frame(2)), 1, START | DISCARDABLE, id="intra only"),
        pytest.param(packet(W1, frame(2, 1)), 1, START, id="intra only, kept"),
        pytest.param(packet(W1, frame(3)), 1, START, id="switch frame"),
        pytest.param(packet(W1, frame(1, shown=False)), 1, START, id="hidden"),
        pytest.param(packet(W2, frame(1, 1, shown=False), UNREFERENCED), 1, START, id="two frames"),
        pytest.param(packet(W1, SHOW_EXISTING), 1, START, id="shows another frame"),
        pytest.param(packet(W1, TILES), 1, START, id="tiles of an unknown frame"),
        pytest.param(packet(W1 | Z, UNREFERENCED), 1, START, id="the rest of an OBU"),
        pytest.param(packet(W1 | Y, UNREFERENCED[:3]), 1, START, id="half a frame header"),
        pytest.param(packet(W1, KEY_FRAME), 1, HEAD, id="key frame alone"),
        pytest.param(packet(W1, frame(0, shown=False)), 1, START, id="hidden key frame"),
        pytest.param(packet(W1, SEQUENCE), 1, START, id="repeated sequence header"),
        pytest.param(packet(N | W1, SEQUENCE), -1, HEAD, id="new sequence"),
        pytest.param(packet(0, SEQUENCE, KEY_FRAME), 1, HEAD, id="each with its length"),
    ],
)
def test_marks(payload: bytes, begins: int, expected: Marks) -> None:
    assert marks_of(BEGUN, (payload, begins))[1] == expected
    native = av1.Marker()
    native.marks(BEGUN[0], 1, True)
    assert native.marks(payload, begins, True) == expected | END
    cuts = [(payload[:size], begins, False) for size in range(len(payload) + 1)]
    check(av1.Marker(), reference_av1.Marker(), [(BEGUN[0], 1, False), *cuts])


def test_obus_with_extension_and_size() -> None:
    extended = b"\x34\x20" + UNREFERENCED[1:]
    sized = b"\x32" + bytes([len(UNREFERENCED) - 1]) + UNREFERENCED[1:]
    both = b"\x36\x20" + bytes([len(UNREFERENCED) - 1]) + UNREFERENCED[1:]
    for obu in (extended, sized, both):
        assert marks_of(BEGUN, (packet(W1, obu), 1))[1] == START | DISCARDABLE


def test_sequences() -> None:
    ids = (packet(W2, sequence(frame_ids=True), KEY_FRAME), 1)
    assert marks_of(ids, (packet(W1, frame(1, ids=8)), 1))[1] == START | DISCARDABLE
    assert marks_of(ids, (packet(W1, frame(1, 1, ids=8)), 1))[1] == START
    model = (packet(W2, sequence(model=True), KEY_FRAME), 1)
    assert marks_of(model, (packet(W1, UNREFERENCED), 1)) == [HEAD, START]
    still = (packet(W2, sequence(reduced=True), b"\x30data"), 1)
    assert marks_of(still) == [HEAD]
    assert marks_of((packet(W1, UNREFERENCED), 1)) == [START]


def test_a_frame_in_several_packets() -> None:
    found = marks_of(
        BEGUN,
        (packet(W1 | Y, UNREFERENCED), 1),
        (packet(W1 | Z | Y, b"more"), 0),
        (packet(W1 | Z, b"more"), 0),
    )
    assert found[1:] == [START | DISCARDABLE, DISCARDABLE, DISCARDABLE]
    found = marks_of(BEGUN, (packet(W1 | Y, UNREFERENCED), 1), (packet(W1 | Z, b"more"), -1))
    assert found[2] == Marks(0)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x10", id="header alone"),
        pytest.param(b"\x00\x00", id="empty element"),
        pytest.param(b"\x00\x02\x30", id="past the end"),
        pytest.param(b"\x20\x01\x30", id="one of two"),
        pytest.param(b"\x20\x80", id="half a length"),
        pytest.param(b"\x00" + b"\xff" * 8 + b"\x01", id="a length without end"),
        pytest.param(b"\x00\x81\x80\x80\x80\x80\x80\x80\x01\x30", id="a length above 32 bits"),
        pytest.param(bytes([Z | N | W1]) + SEQUENCE, id="a sequence begins in the middle"),
    ],
)
def test_malformed(payload: bytes) -> None:
    assert marks_of((payload, 1)) == [None]


def test_elements_of_real_packets_make_the_temporal_unit() -> None:
    for sent in encode("AV1 with a pyramid"):
        obus: list[bytes] = []
        for each in sent.packets:
            found = av1.elements(GUARDED.place(each.payload))
            assert found == reference_av1.elements(each.payload)
            assert found
            if each.payload[0] & Z:
                obus[-1] += found.pop(0)
            obus += found
        assert sum(map(len, obus)) <= len(sent.data)
        assert all(obu[1:] in sent.data for obu in obus)


SEEDS = [
    BEGUN[0],
    *(packet(W2, each, KEY_FRAME) for each in (sequence(frame_ids=True), sequence(model=True))),
    *(packet(W1, each) for each in (SEQUENCE, KEY_FRAME, INTER, UNREFERENCED, SHOW_EXISTING)),
    *(packet(W1 | Y, UNREFERENCED), packet(W1 | Z, b"more"), packet(0, TILES, INTER)),
    packet(W2, frame(1, 1, shown=False), UNREFERENCED),
    packet(W1, b"\x36\x20\x09" + UNREFERENCED[1:]),
]


def test_random_stories_agree_with_the_twin() -> None:
    rng = random.Random(SEED)
    for _ in range(2_000):
        check(av1.Marker(), reference_av1.Marker(), random_story(rng, SEEDS))


@given(st.lists(st.tuples(st.binary(max_size=24), st.integers(-1, 1), st.booleans()), max_size=4))
def test_any_bytes_agree_with_the_twin(story: list[tuple[bytes, int, bool]]) -> None:
    check(av1.Marker(), reference_av1.Marker(), story)
