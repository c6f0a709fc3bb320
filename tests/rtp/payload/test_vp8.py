"""VP8 marks: layouts of RFC 7741, the twin on random and broken input, libvpx through a muxer."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp import constants as c
from rtp.payload import reference, vp8
from rtp.payload.marks import Marks
from tests.rtp.guarded_page import GuardedPage
from tests.rtp.muxer import MuxedFrame, mux

START = Marks.FRAME_START
END = Marks.FRAME_END
KEY = Marks.KEY | Marks.GOP_START
DISCARDABLE = Marks.DISCARDABLE
GUARDED = GuardedPage()
SEED = 7_741

KEY_FRAME = b"\x90\xa5\x00" + c.VP8_START_CODE + b"\x40\x01\xc0\x00"
INTER_FRAME = b"\x51\x0a\x00\x0d\x11\x64"


def check(data: bytes) -> None:
    view = GUARDED.place(data)
    assert vp8.descriptor_bytes(view) == reference.vp8_descriptor_bytes(data)
    for begins in (-1, 0, 1):
        for marker in (False, True):
            assert vp8.marks(view, begins, marker) == reference.vp8_marks(data, begins, marker)


@pytest.mark.parametrize(
    ("descriptor", "frame", "expected"),
    [
        pytest.param("10", KEY_FRAME, START | KEY, id="key"),
        pytest.param("10", INTER_FRAME, START, id="inter"),
        pytest.param("30", INTER_FRAME, START | DISCARDABLE, id="inter, not referred to"),
        pytest.param("30", KEY_FRAME, START | KEY, id="a key frame is not discarded"),
        pytest.param("00", KEY_FRAME, Marks(0), id="S is 0: the payload header is not there"),
        pytest.param("20", INTER_FRAME, DISCARDABLE, id="later packet, not referred to"),
        pytest.param("11", KEY_FRAME, Marks(0), id="another partition begins"),
        pytest.param("17", KEY_FRAME, Marks(0), id="the last partition begins"),
        pytest.param("58", KEY_FRAME, START | KEY, id="both R are ignored"),
        pytest.param("9000", KEY_FRAME, START | KEY, id="X with nothing in it"),
        pytest.param("900f", KEY_FRAME, START | KEY, id="RSV is ignored"),
        pytest.param("90807f", KEY_FRAME, START | KEY, id="PictureID of 7 bits"),
        pytest.param("9080ffff", KEY_FRAME, START | KEY, id="PictureID of 15 bits"),
        pytest.param("9040ff", KEY_FRAME, START | KEY, id="TL0PICIDX"),
        pytest.param("9020ff", KEY_FRAME, START | KEY, id="TID"),
        pytest.param("9010ff", KEY_FRAME, START | KEY, id="KEYIDX"),
        pytest.param("9030ff", KEY_FRAME, START | KEY, id="TID and KEYIDX in one octet"),
        pytest.param("90f0800001ff", KEY_FRAME, START | KEY, id="everything"),
        pytest.param("b0f0800001ff", INTER_FRAME, START | DISCARDABLE, id="everything, inter"),
        pytest.param("10", b"\x90", START | KEY, id="one octet says it"),
        pytest.param("10", KEY_FRAME[:5], START | KEY, id="half a start code"),
        pytest.param("10", b"\x90\xa5\0\x9d\x01\x2b", START, id="another start code"),
    ],
)
def test_marks(descriptor: str, frame: bytes, expected: Marks) -> None:
    payload = bytes.fromhex(descriptor) + frame
    for begins in (-1, 0):
        assert vp8.marks(payload, begins, False) == expected
        assert vp8.marks(payload, begins, True) == expected | END
    assert vp8.marks(payload, 1, False) == expected | START
    assert vp8.descriptor_bytes(payload) == len(descriptor) // 2
    for size in range(len(payload) + 1):
        check(payload[:size])


@pytest.mark.parametrize(
    "payload",
    ["", "10", "90", "9000", "9080", "908001", "9080ff", "9080ff01", "90f0800001", "90f0800001ff"],
)
def test_truncated_descriptor_or_empty_payload(payload: str) -> None:
    data = bytes.fromhex(payload)
    assert vp8.marks(data, 1, True) is None
    assert vp8.descriptor_bytes(data) == 0
    check(data)


def test_random_payloads_agree_with_the_twin() -> None:
    rng = random.Random(SEED)
    for _ in range(10_000):
        octets = [rng.choice((0x10, 0x30, 0x90, 0xB0, rng.randrange(256)))]
        octets += [rng.choice((0x80, 0xF0, rng.randrange(256))) for _ in range(5)]
        check(bytes(octets[: rng.randint(0, 6)]) + KEY_FRAME[: rng.randint(0, len(KEY_FRAME))])


@given(st.binary(max_size=20))
@settings(max_examples=500)
def test_any_bytes_agree_with_the_twin(data: bytes) -> None:
    check(data)


# A real encoder and packetiser --------------------------------------------------------------------

GOP = 12


def muxed() -> tuple[MuxedFrame, ...]:
    return mux("libvpx", 26, GOP, 1_200)


def test_the_encoder_gives_what_these_tests_need() -> None:
    assert [frame.is_key for frame in muxed()] == [n % GOP == 0 for n in range(26)]
    assert max(len(frame.packets) for frame in muxed()) > 10


@pytest.mark.parametrize("knows_the_preceding", [False, True])
def test_marks_agree_with_the_frames(knows_the_preceding: bool) -> None:
    for frame in muxed():
        for number, packet in enumerate(frame.packets):
            begins = int(number == 0) if knows_the_preceding else -1
            expected = START if number == 0 else Marks(0)
            expected |= KEY if number == 0 and frame.is_key else Marks(0)
            expected |= END if number == len(frame.packets) - 1 else Marks(0)
            assert vp8.marks(packet.payload, begins, packet.marker) == expected


def test_what_follows_the_descriptors_is_the_frame() -> None:
    for frame in muxed():
        payloads = [packet.payload for packet in frame.packets]
        assert b"".join(p[vp8.descriptor_bytes(p) :] for p in payloads) == frame.data
