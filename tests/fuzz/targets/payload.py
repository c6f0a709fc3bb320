"""Codec marks: native parser and twin agree.

For H.264, VP8 and Opus an input is a byte of context and a payload. For the others, whose marks
depend on what came before, it is a story: each record's kind is the context, its body a payload.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from rtp.packet import HeaderExtension, RtpPacket
from rtp.payload import (
    av1,
    codec,
    dependency,
    fragment,
    h264,
    h265,
    opus,
    reference,
    reference_av1,
    reference_dependency,
    reference_h265,
    reference_vp9,
    vp8,
    vp9,
)
from rtp.payload.h264_packets import packetize
from tests.fuzz import records
from tests.fuzz.targets.exact import exact
from tests.fuzz.targets.target import Target
from tests.rtp.dependency import describe, structure

ALL_MARKS = 31

RTP_HEADER_BYTES = 12
DEPENDENCY_ID = 4
SMALLEST_ROOM = 10  # too small to cut

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


class NativeMarker(Protocol):
    def marks(self, payload: memoryview, begins: int, marker: bool, /) -> int | None: ...


class TwinMarker(Protocol):
    def marks(self, payload: bytes, begins: int, marker: bool, /) -> int | None: ...


def tells(
    native: Callable[[], NativeMarker],
    twin: Callable[[], TwinMarker],
    split: reference.Splitter,
    number: int,
) -> Callable[[bytes], None]:
    """A story target's run. The context: as above; the upper five bits: room to cut to."""

    def run(data: bytes) -> None:
        one, other = native(), twin()
        for kind, payload in records.split(data):
            begins, marker = min(kind & 3, 2) - 1, bool(kind & 4)
            found = one.marks(exact(payload), begins, marker)
            assert found == other.marks(payload, begins, marker)
            assert found is None or 0 <= found <= ALL_MARKS
            packet = RtpPacket(96, 1, 2, 3, payload).serialise()
            limit = RTP_HEADER_BYTES + SMALLEST_ROOM + (kind >> 3)
            cut = fragment.fragments(exact(packet), number, limit, bytearray(limit))
            assert cut is not None
            pieces = reference.fragments(packet, split, limit)
            assert cut == ((-1, []) if pieces is None else (len(pieces), pieces))

    return run


def reads_dependencies(data: bytes) -> None:
    """A story target's run: each record is a header extension, its kind the form and the bits."""
    one, other = dependency.Reader(), reference_dependency.Reader()
    for kind, body in records.split(data):
        profile = 0x1000 if kind & 1 else 0xBEDE
        extension = HeaderExtension(profile, body[:1020] + bytes(-len(body[:1020]) % 4))
        packet = RtpPacket(96, 1, 2, 3, b"media", extension=extension).serialise()
        packet = packet[: len(packet) - (kind >> 1) % 8]
        assert one.read(exact(packet), DEPENDENCY_ID) == other.read(packet, DEPENDENCY_ID)


def dependency_seeds() -> list[bytes]:
    """Structures, templates, own indications, frames that go on, in both forms."""
    structures = [structure(first=n, chains=n, resolutions=n > 0) for n in range(3)]
    made = [describe(0, 0, structures[0])]
    made += [describe(n, n) for n in range(5)] + [describe(n, n, begins=False) for n in (4, 3)]
    made += [describe(0, 7, own="DS"), describe(0, 8, own="DD", active="01"), made[0][:6]]
    long = [(1, bytes([DEPENDENCY_ID, len(each)]) + each) for each in made]
    short = [(0, bytes([DEPENDENCY_ID << 4 | len(each) - 1]) + each) for each in made[1:]]
    others = [(1, bytes([DEPENDENCY_ID, 40]) + describe(0, 0, each)) for each in structures[1:]]
    return [records.join(long), records.join([long[0], *short]), records.join(others + long[1:])]


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


def h265_seeds() -> list[bytes]:
    """Every NAL unit type, parameter sets, sub-layers, aggregates, fragments, broken ones."""
    sets = b"\x60\1\0\3\x40\1\x0c\0\4\x42\1\5\x40\0\3\x44\1\xc0"
    each = [bytes([kind << 1, 1 + kind % 3]) + b"\x80abcdefghijklmnopq" for kind in range(64)]
    fragments = [
        bytes([0x62, 2, ends | kind]) + b"\x80ab" for kind in (0, 19) for ends in (0x80, 64)
    ]
    broken = [b"", b"\x62\1", b"\x60\1\0", b"\x60\1\0\1\2", b"\x64\1ab", b"\2\0ab", sets[:-1]]
    cra = [b"\x2a\1\x80a", b"\x12\1\x80a", b"\x10\1\x80a", b"\x48\1", b"\x2a\1\x80a", b"\x12\1\x80"]
    return as_stories([[sets, *each[:32]], [*each[32:], *cra], [sets, *fragments, *cra], broken])


def vp9_seeds() -> list[bytes]:
    """Each set of descriptor fields (RFC 9628 4.2) before each kind of frame."""
    key, inter, left_out = b"\x82\x49\x83\x42", b"\x86\0\x40\x92", b"\x87\0\2\x4b"
    heads = (b"\x0c", b"\x08", b"\0", b"\x04", b"\xac\5\0\7", b"\xa8\5\x42\7", b"\xd8\5\3\5\2")
    structures = (b"\x0a\x30" + bytes(8), b"\xaa\x85\1\0\7\x08\2\4\1\x2c\1\2\3")
    frames = (key, inter, left_out, b"\x85\0\2", b"\x88", b"\xb3\x80\0", b"")
    made = [head + frame + bytes(20) for head in (*heads, *structures) for frame in frames]
    return as_stories([made[at : at + 8] for at in range(0, len(made), 8)] + [[b"", b"\x8c\x80"]])


def av1_seeds() -> list[bytes]:
    """A sequence header and frames as an encoder writes them, in each way of counting OBUs."""
    sequence = bytes.fromhex("0a0b000000043c ff bc ff f1 80 40".replace(" ", ""))
    frames = [bytes.fromhex(text) for text in ("3030280800249249", "32130060016d", "303006000000")]
    found = [
        b"\x18" + sequence,
        b"\x10" + frames[2],
        b"\x10\x18\xd8",
        b"\x10" + frames[1] + bytes(30),
    ]
    found += [b"\x28" + bytes([len(sequence)]) + sequence + frames[0], b"\0\2\x30\x10\2\x30\0"]
    found += [b"\x50" + frames[0], b"\xd0more", b"\x90more", b"\x10" + b"\x36\x20\4" + bytes(4)]
    found += [b"", b"\x10", b"\0\0", b"\0\2\x30", b"\x20\x80", b"\x98abc", b"\0\xff\xff\xff"]
    timed = b"\x18\x08" + b"\4" + b"\x55" * 30
    return as_stories([found, [timed, *found[:5]], found[::-1]])


def as_stories(stories: list[list[bytes]]) -> list[bytes]:
    return [
        records.join([(n * 41 & 0xFF, payload) for n, payload in enumerate(story)])
        for story in stories
    ]


DEPENDENCIES = Target(
    "dependencies", reads_dependencies, dependency_seeds, is_story=True, most_bytes=600
)
NUMBERS = codec.numbers()
H265 = Target(
    "h265",
    tells(h265.Marker, reference_h265.Marker, reference_h265.split, NUMBERS["H265"]),
    h265_seeds,
    is_story=True,
)
VP9 = Target(
    "vp9",
    tells(vp9.Marker, reference_vp9.Marker, reference_vp9.split, NUMBERS["VP9"]),
    vp9_seeds,
    is_story=True,
)
AV1 = Target(
    "av1",
    tells(av1.Marker, reference_av1.Marker, reference_av1.split, NUMBERS["AV1"]),
    av1_seeds,
    is_story=True,
)
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
