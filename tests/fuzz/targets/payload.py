"""Codec marks: native parser and twin agree; an input is a byte of context and a payload."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rtp.payload import h264, opus, reference, vp8
from rtp.payload.h264_packets import packetize
from tests.fuzz.targets.exact import exact
from tests.fuzz.targets.target import Target

ALL_MARKS = 31

Marks: TypeAlias = Callable[[memoryview, int, bool], int | None]
Twin: TypeAlias = Callable[[bytes, int, bool], int | None]


def agrees(marks: Marks, twin: Twin) -> Callable[[bytes], None]:
    """A target's run. The context: begins (two bits, less 1), marker, and which view of memory."""

    def run(data: bytes) -> None:
        if not data:
            return
        begins, marker = min(data[0] & 3, 2) - 1, bool(data[0] & 4)
        payload = data[1:]
        found = marks(exact(payload), begins, marker)
        assert found == twin(payload, begins, marker)
        assert found is None or 0 <= found <= ALL_MARKS

    return run


def with_contexts(payloads: list[bytes]) -> list[bytes]:
    return [bytes([n % 7]) + payload for n, payload in enumerate(payloads)]


def h264_seeds() -> list[bytes]:
    """Single NAL units of each type, aggregates, fragments; RFC 6184's other structures."""
    singles = [bytes([0x60 | kind]) + b"\x88abc" for kind in range(32)]
    idc_0 = [bytes([kind]) + b"\x1aabc" for kind in (1, 2, 5, 9)]
    long_nal = b"\x65\x88" + bytes(range(100))
    made = packetize([b"\x09\xf0", b"\x67\x42", b"\x68\xce", b"\x06\x05\x80", long_nal], 40)
    fragments = [b"\x1c\x81\x88", b"\x7c\x45\x88", b"\x7c", b"\x7c\x80\x88", b"\x7c\x9c"]
    broken = [b"\x78", b"\x78\x00", b"\x78\x00\x00", b"\x78\x00\x03\x65\x88", b"\x78\xff\xff\x65"]
    return with_contexts([*singles, *idc_0, *made, *fragments, *broken, b""])


def opus_seeds() -> list[bytes]:
    """Each way of counting frames in the first byte (RFC 6716 3.1)."""
    return with_contexts([bytes([0x78 | code]) + b"frame" for code in range(4)] + [b"", b"\xff"])


def vp8_seeds() -> list[bytes]:
    """Each set of descriptor fields (RFC 7741 4.2) before a key, an inter and a cut frame."""
    key_frame, inter_frame = b"\x10\2\0\x9d\1\x2a\x80\2", b"\x11\2\0abcd"
    made = []
    for frame in (key_frame, inter_frame, key_frame[:2], b""):
        for head in (0x10, 0x00, 0x30, 0x11):
            made.append(bytes([head]) + frame)
            for fields in range(0, 256, 16):
                made.append(bytes([head | 0x80, fields, 0x81, 2, 3, 4]) + frame)
    return with_contexts(made)


H264 = Target("h264", agrees(h264.marks, reference.h264_marks), h264_seeds)
VP8 = Target("vp8", agrees(vp8.marks, reference.vp8_marks), vp8_seeds, most_bytes=200)
OPUS = Target(
    "opus",
    agrees(
        lambda payload, _begins, _marker: opus.marks(payload),
        lambda payload, _begins, _marker: reference.opus_marks(payload),
    ),
    opus_seeds,
    most_bytes=100,
)
