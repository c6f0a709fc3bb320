"""VP9 marks: descriptors of RFC 9628, frame headers, layers, the twin on broken input."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.payload import reference_vp9, vp9
from rtp.payload.marks import Marks
from tests.rtp.payload.stories import GUARDED, check, random_story

START, END, DISCARDABLE = Marks.FRAME_START, Marks.FRAME_END, Marks.DISCARDABLE
KEY = Marks.KEY
HEAD = KEY | START | Marks.GOP_START
SEED = 9_628

# Uncompressed headers: frame marker, profile, show existing, inter, shown, error resilient, ...
KEY_FRAME = b"\x82\x49\x83\x42"
INTER = b"\x86\x00\x40\x92"
RESILIENT = b"\x87\x01\x02\x4b"
UNREFERENCED = b"\x87\x00\x02\x4b"
HIDDEN = b"\x85\x00\x02\x4b"
SHOWN_AGAIN = b"\x88"


def packet(descriptor: str, frame: bytes = b"\x00data") -> bytes:
    return bytes.fromhex(descriptor) + frame


def marks_of(*packets: tuple[bytes, int]) -> list[Marks | None]:
    """Of a track that begins with these payloads, each with its `begins`."""
    story = [(payload, begins, False) for payload, begins in packets]
    check(vp9.Marker(), reference_vp9.Marker(), story)
    native = vp9.Marker()
    found = [native.marks(payload, begins, False) for payload, begins in packets]
    return [None if each is None else Marks(each) for each in found]


@pytest.mark.parametrize(
    ("descriptor", "expected"),
    [
        pytest.param("00", (0x00, 0, 0, 1, 1), id="nothing in it"),
        pytest.param("8c05", (0x8C, 0, 0, 2, 2), id="picture id of 7 bits"),
        pytest.param("8c8005", (0x8C, 0, 0, 3, 3), id="picture id of 15 bits"),
        pytest.param("ac054407", (0xAC, 2, 2, 4, 4), id="layers, TL0PICIDX"),
        pytest.param("bc0544", (0xBC, 2, 2, 3, 3), id="layers, flexible: no TL0PICIDX"),
        pytest.param("d80502", (0xD8, 0, 0, 3, 3), id="flexible, one reference"),
        pytest.param("d805030502", (0xD8, 0, 0, 5, 5), id="three references"),
        pytest.param("900542", (0x90, 0, 0, 2, 2), id="flexible, none: the rest is the frame"),
        pytest.param("0a00", (0x0A, 0, 0, 1, 2), id="structure with nothing in it"),
        pytest.param("0a30" + "0140" * 4, (0x0A, 0, 0, 1, 10), id="two resolutions"),
        pytest.param("0a0802" + "0401" + "2c010203", (0x0A, 0, 0, 1, 9), id="group of pictures"),
        pytest.param("0a080004", (0x0A, 0, 0, 1, 3), id="empty group"),
    ],
)
def test_descriptors(descriptor: str, expected: tuple[int, int, int, int, int]) -> None:
    payload = packet(descriptor)
    assert vp9.descriptor(payload) == expected
    for size in range(len(payload) + 1):
        twin = reference_vp9.descriptor(payload[:size])
        fields = twin and (twin.flags, twin.temporal_id, twin.spatial_id, *sizes(twin))
        assert vp9.descriptor(GUARDED.place(payload[:size])) == fields


def sizes(found: reference_vp9.Descriptor) -> tuple[int, int]:
    return found.fixed_bytes, found.size


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("", id="empty"),
        pytest.param("0c", id="nothing behind it"),
        pytest.param("8c80", id="half a picture id"),
        pytest.param("1c0544", id="flexible without a picture id"),
        pytest.param("d80503050305", id="four references"),
        pytest.param("0a30014001", id="half a structure"),
        pytest.param("0a0802040104", id="half a group"),
    ],
)
def test_refused_descriptors(payload: str) -> None:
    assert marks_of((bytes.fromhex(payload), 1)) == [None]


@pytest.mark.parametrize(
    ("descriptor", "frame", "expected"),
    [
        pytest.param("0c", KEY_FRAME, HEAD, id="key"),
        pytest.param("4c", KEY_FRAME, START, id="P says it is none"),
        pytest.param("0c", INTER, START, id="inter, from a sender that never sets P"),
        pytest.param("0c", RESILIENT, START, id="updates a reference"),
        pytest.param("0c", UNREFERENCED, START | DISCARDABLE, id="updates none"),
        pytest.param("0c", HIDDEN, START, id="hidden"),
        pytest.param("0c", SHOWN_AGAIN, START, id="shows another frame"),
        pytest.param("0c", b"\x40\x00\x00", START, id="no frame"),
        pytest.param("0c", UNREFERENCED[:1], START, id="half a header"),
        pytest.param("0c", b"\xbb\x80\x00", START, id="profile 3 with its reserved bit"),
        pytest.param("0c", b"\xb3\x80\x00", START | DISCARDABLE, id="profile 3"),
        pytest.param("04", UNREFERENCED, Marks(0), id="not the first packet"),
        pytest.param("ac050207", UNREFERENCED, DISCARDABLE, id="a higher layer begins no picture"),
    ],
)
def test_marks(descriptor: str, frame: bytes, expected: Marks) -> None:
    payload = packet(descriptor, frame)
    assert marks_of((payload, 0)) == [expected]
    assert marks_of((payload, 1)) == [expected | START]
    assert vp9.Marker().marks(payload, -1, True) == expected | END


def test_a_frame_is_as_its_first_packet_says() -> None:
    key = [(packet("08", KEY_FRAME), 1), (packet("00"), 0), (packet("04"), 0)]
    assert marks_of(*key) == [HEAD, KEY, KEY]
    other = [(packet("08", UNREFERENCED), 1), (packet("00"), 0), (packet("04"), 0)]
    assert marks_of(*other) == [START | DISCARDABLE, DISCARDABLE, DISCARDABLE]


def test_what_follows_a_loss_is_of_no_known_frame() -> None:
    begun = (packet("08", UNREFERENCED), 1)
    assert marks_of(begun, (packet("00"), -1), (packet("04"), 0))[1:] == [Marks(0)] * 2
    assert marks_of(begun, (packet("04"), 0), (packet("00"), 0))[2] == Marks(0)


def test_layers_of_a_picture() -> None:
    found = marks_of(
        (packet("ac050007", KEY_FRAME), 1),
        (packet("ac050307", RESILIENT), 0),
        (packet("e8054007", RESILIENT), 1),
        (packet("e0054007"), 0),
        (packet("e8054207", UNREFERENCED), 0),
        (packet("e0054207"), 0),
        (packet("e0054407"), 0),  # of a layer whose first packet did not come
    )
    assert found == [HEAD, KEY, START, Marks(0), DISCARDABLE, DISCARDABLE, Marks(0)]


def test_frames_that_hand_on_their_state_make_all_needed() -> None:
    found = marks_of(
        (packet("0c", KEY_FRAME), 1),
        (packet("4c", INTER), 1),
        (packet("4c", UNREFERENCED), 1),
        (packet("0c", KEY_FRAME), 1),
        (packet("4c", UNREFERENCED), 1),
    )
    assert found[2] == START
    assert found[4] == START | DISCARDABLE


SEEDS = [
    *(packet("0c", frame) for frame in (KEY_FRAME, INTER, RESILIENT, UNREFERENCED, HIDDEN)),
    *(packet(d, UNREFERENCED) for d in ("08", "ac050007", "e8054207", "f80502", "d805030502")),
    *(packet(d) for d in ("00", "04", "e0054207", "0a30" + "0140" * 4, "0a08020401" + "2c010203")),
    packet("aa050007" + "1801400090" + "0100", KEY_FRAME),
]


def test_random_stories_agree_with_the_twin() -> None:
    rng = random.Random(SEED)
    for _ in range(2_000):
        check(vp9.Marker(), reference_vp9.Marker(), random_story(rng, SEEDS))


@given(st.lists(st.tuples(st.binary(max_size=12), st.integers(-1, 1), st.booleans()), max_size=4))
def test_any_bytes_agree_with_the_twin(story: list[tuple[bytes, int, bool]]) -> None:
    check(vp9.Marker(), reference_vp9.Marker(), story)
