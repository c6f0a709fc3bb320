"""VP8 marks: layouts of RFC 7741, the twin on random and broken input, libvpx through a muxer."""

import random
import socket
from functools import cache

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp import constants as c
from rtp.packet import RtpPacket
from rtp.payload import reference, vp8
from rtp.payload.marks import Marks
from tests.rtp.guarded_page import GuardedPage

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

FRAMES = 26
GOP = 12


@cache
def muxed() -> tuple[tuple[bytes, bool, tuple[RtpPacket, ...]], ...]:
    """Each frame of libvpx, whether it is key, and the packets libavformat made of it."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as media,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp,
    ):
        for each in (media, rtcp):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        ports = f"{media.getsockname()[1]}?rtcpport={rtcp.getsockname()[1]}"
        with av.open(f"rtp://127.0.0.1:{ports}&pkt_size=1200", "w", format="rtp") as output:
            stream = output.add_stream("libvpx", rate=30)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
            stream.codec_context.gop_size = GOP
            stream.options = {"deadline": "realtime", "cpu-used": "8"}
            noise = np.random.default_rng(7).integers(0, 255, (192, 400, 3), dtype=np.uint8)
            frames = []
            for number in range(FRAMES):
                image = np.ascontiguousarray(noise[:, 2 * number : 2 * number + 320])
                for encoded in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                    data, is_key = bytes(encoded), encoded.is_keyframe
                    output.mux(encoded)
                    frames.append((data, is_key, tuple(received(media))))
    return tuple(frames)


def received(media: socket.socket) -> list[RtpPacket]:
    """What loopback has delivered: all that was sent, since it does so within the sender's call."""
    packets = []
    while True:
        try:
            packets.append(RtpPacket.parse(media.recv(2_048)))
        except BlockingIOError:
            return packets


def test_the_encoder_gives_what_these_tests_need() -> None:
    frames = muxed()
    assert [is_key for _, is_key, _ in frames] == [n % GOP == 0 for n in range(FRAMES)]
    assert max(len(packets) for _, _, packets in frames) > 10


@pytest.mark.parametrize("knows_the_preceding", [False, True])
def test_marks_agree_with_the_frames(knows_the_preceding: bool) -> None:
    for _, is_key, packets in muxed():
        for number, packet in enumerate(packets):
            begins = int(number == 0) if knows_the_preceding else -1
            expected = START if number == 0 else Marks(0)
            expected |= KEY if number == 0 and is_key else Marks(0)
            expected |= END if number == len(packets) - 1 else Marks(0)
            assert vp8.marks(packet.payload, begins, packet.marker) == expected


def test_what_follows_the_descriptors_is_the_frame() -> None:
    for data, _, packets in muxed():
        parts = [p.payload[vp8.descriptor_bytes(p.payload) :] for p in packets]
        assert b"".join(parts) == data
