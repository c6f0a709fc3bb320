"""What is marked discardable, proven by decoders: left out, it changes no other picture.

And the other way round: leave out a picture that is not marked, and damage shows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import av
import av.error
import pytest
from av.video.codeccontext import VideoCodecContext

from rtp.payload import av1, h264, h265, vp8, vp9
from rtp.payload.h264_packets import split_annexb
from rtp.payload.marks import Marks
from tests.rtp.encoders import CASES, Sent, encode
from tests.support.recordings import digest
from tests.support.units import hevc_slices_of, slices_of

Marker = Callable[[bytes, int, bool], int | None]
KINDS = Marks.KEY | Marks.DISCARDABLE
SEED = 13_818
# An encoder that hands state on to every frame, and one whose packetiser never sets the N bit.
NOTHING_DISCARDABLE = {"VP9 with layers, not resilient", "VP8 with layers"}
cases = pytest.mark.parametrize("name", CASES)


def marker_of(codec: str) -> Marker:
    """Of a track of its own."""
    if codec in ("H264", "VP8"):
        return h264.marks if codec == "H264" else vp8.marks
    if codec == "H265":
        return h265.Marker().marks
    return vp9.Marker().marks if codec == "VP9" else av1.Marker().marks


@cache
def marks_of(name: str) -> list[list[Marks]]:
    """By access unit and packet, nothing lost."""
    marks = marker_of(CASES[name].codec)
    return [
        [Marks(marks(p.payload, int(n == 0), p.marker) or 0) for n, p in enumerate(sent.packets)]
        for sent in encode(name)
    ]


def is_discardable(marks: list[Marks]) -> bool:
    return Marks.DISCARDABLE in marks[-1]


def decode(name: str, units: Iterable[Sent]) -> tuple[dict[int, str], int]:
    """The pictures' digests by their time, and how many errors the decoder told."""
    decoder = av.CodecContext.create(CASES[name].decoder, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    if CASES[name].decoder in ("h264", "hevc"):
        decoder.options = {"err_detect": "explode"}
    pictures, errors = {}, 0
    packets: list[av.Packet[Any] | None] = []
    for unit in units:
        packet = av.Packet(unit.data)
        packet.pts = unit.pts
        packets.append(packet)
    for each in [*packets, None]:
        try:
            for frame in decoder.decode(each):
                assert frame.pts is not None
                pictures[frame.pts] = digest(frame.to_ndarray().tobytes())
        except av.error.FFmpegError:
            errors += 1
    return pictures, errors


@cases
def test_marks_are_of_the_frames(name: str) -> None:
    for sent, marks in zip(encode(name), marks_of(name), strict=True):
        assert (Marks.GOP_START in marks[0]) == sent.is_key
        assert [Marks.FRAME_START in m for m in marks] == [n == 0 for n in range(len(marks))]
        assert [Marks.FRAME_END in m for m in marks] == [n == 0 for n in range(len(marks))][::-1]
        assert len({m & Marks.DISCARDABLE for m in marks}) == 1
        if CASES[name].codec in ("VP9", "AV1"):
            assert len({m & Marks.KEY for m in marks}) == 1
        elif CASES[name].codec != "VP8":  # where only a frame's first packet says it
            assert (Marks.KEY in marks[-1]) == sent.is_key  # SEI before the slices has no kind


@cases
def test_the_encoder_makes_what_is_to_be_told_apart(name: str) -> None:
    found = [is_discardable(marks) for marks in marks_of(name)]
    keys = sum(sent.is_key for sent in encode(name))
    assert keys == 3
    if name in NOTHING_DISCARDABLE:
        assert sum(found) == 0
    else:
        assert 5 <= sum(found) < len(found) - keys


@cases
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_without_discardable_frames_all_others_are_whole(name: str, share: float) -> None:
    rng = random.Random(SEED)
    whole, errors = decode(name, encode(name))
    assert (errors, len(whole)) == (0, len(encode(name)))
    kept = [
        sent
        for sent, marks in zip(encode(name), marks_of(name), strict=True)
        if not is_discardable(marks) or rng.random() >= share
    ]
    assert decode(name, kept) == ({sent.pts: whole[sent.pts] for sent in kept}, 0)


@cases
def test_without_another_frame_damage_shows(name: str) -> None:
    """The frame after a key frame, unless that one is discardable."""
    whole, _ = decode(name, encode(name))
    units, marks = encode(name), marks_of(name)
    for key, (sent, following) in enumerate(zip(units[:-1], marks[1:], strict=True)):
        if sent.is_key and not is_discardable(following):
            without = [unit for index, unit in enumerate(units) if index != key + 1]
            pictures, errors = decode(name, without)
            expected = {unit.pts: whole[unit.pts] for unit in without}
            assert errors or pictures != expected


@cases
def test_a_lost_packet_makes_no_other_one_discardable_or_a_beginning(name: str) -> None:
    """The packet after it does not know what came before: begins is -1."""
    rng = random.Random(SEED)
    for _ in range(20):
        marks = marker_of(CASES[name].codec)
        is_known = True
        for sent, expected in zip(encode(name), marks_of(name), strict=True):
            for number, packet in enumerate(sent.packets):
                if rng.random() < 0.1:
                    is_known = False
                    continue
                begins = int(number == 0) if is_known else -1
                found = Marks(marks(packet.payload, begins, packet.marker) or 0)
                is_known = True
                assert found & KINDS in (expected[number] & KINDS, Marks(0))
                if number > 0 and CASES[name].codec not in ("H264", "H265"):
                    # There each parameter set, and a picture's first slice, may be a beginning.
                    assert Marks.GOP_START not in found


@pytest.mark.parametrize("name", ["H264 in slices", "H265 in slices"])
def test_the_slices_that_are_left_tell_their_kind(name: str) -> None:
    """Each NAL unit in a packet of its own, and one slice of each picture lost."""
    for lost in range(3):
        marks = marker_of(CASES[name].codec)
        kinds = []
        for unit, truth in zip(encode(name), marks_of(name), strict=True):
            nals = split_annexb(unit.data)
            first_slice = next(n for n, nal in enumerate(nals) if is_slice(name, nal))
            assert len(nals) - first_slice >= 3
            for number, nal in enumerate(nals):
                if number != first_slice + lost:
                    begins = -1 if number == first_slice + lost + 1 else int(number == 0)
                    found = Marks(marks(nal, begins, number == len(nals) - 1) or 0)
                    if number >= first_slice:
                        assert found & KINDS == truth[-1] & KINDS
                        kinds.append(Marks.DISCARDABLE in found)
        assert kinds.count(True) > 10
        assert kinds.count(False) > 10


def is_slice(name: str, nal: bytes) -> bool:
    return bool(hevc_slices_of([nal]) if CASES[name].codec == "H265" else slices_of([nal]))
