"""Decoding in a thread of its own, in the order of sending; saving what was received.

A frame waits for the ones before it for as long as the playout buffer holds, then goes on without.
"""

import io
import queue
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from overlane.player.frames import Frame
from overlane.player.playout import TARGET_US
from rtp.payload.h264_packets import canonical


class InOrder:
    """Frames in the order of their numbers, from the first key frame on; a gap is waited for at
    most TARGET_US."""

    def __init__(self) -> None:
        self._waiting: dict[int, Frame] = {}
        self._next: int | None = None

    def feed(self, frame: Frame, now_us: int) -> list[Frame]:
        if self._next is not None and frame.first_number < self._next:
            return []  # its turn is over
        self._waiting[frame.first_number] = frame
        return self.due(now_us)

    def due(self, now_us: int, *, is_end: bool = False) -> list[Frame]:
        found: list[Frame] = []
        if self._next is None and not self._begin():
            return found
        while self._waiting:
            first = self._waiting[min(self._waiting)]
            is_next = first.first_number == self._next
            if not is_next and not is_end and now_us - first.complete_us < TARGET_US:
                break
            del self._waiting[first.first_number]
            self._next = first.first_number + first.packets
            found.append(first)
        return found

    def _begin(self) -> bool:
        """Nothing can be decoded before a key frame."""
        keys = [n for n, frame in self._waiting.items() if frame.starts_with_parameter_sets]
        if not keys:
            return False
        self._next = min(keys)
        self._waiting = {n: frame for n, frame in self._waiting.items() if n >= self._next}
        return True


class Decoder:
    """H.264 and Opus by PyAV. `finish` joins the thread and gives the last picture."""

    def __init__(self) -> None:
        self.frames = 0
        self.errors = 0
        self.audio_errors = 0
        self.picture: av.VideoFrame | None = None
        self._queue: queue.SimpleQueue[tuple[str, bytes, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
        self._thread.start()

    def video(self, frame: Frame) -> None:
        self._queue.put(("video", canonical(frame.nals), frame.rtp_time))

    def audio(self, payload: bytes) -> None:
        self._queue.put(("audio", payload, 0))

    def finish(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        video = av.CodecContext.create("h264", "r")
        audio = av.CodecContext.create("opus", "r")
        assert isinstance(video, av.VideoCodecContext)
        assert isinstance(audio, av.AudioCodecContext)
        video.thread_count = 1  # frame threads would hold pictures back
        audio.extradata = OPUS_HEAD
        while (item := self._queue.get()) is not None:
            kind, data, rtp_time = item
            try:
                packet = av.Packet(data)
                if kind == "audio":
                    audio.decode(packet)
                    continue
                packet.pts = rtp_time
                self._keep(video.decode(packet))
            except av.FFmpegError:
                if kind == "audio":
                    self.audio_errors += 1
                else:
                    self.errors += 1
        try:
            self._keep(video.decode(None))
        except av.FFmpegError:
            self.errors += 1

    def _keep(self, pictures: list[av.VideoFrame]) -> None:
        for picture in pictures:
            self.frames += 1
            self.errors += bool(picture.is_corrupt)
            self.picture = picture


_CLOCK_90K = Fraction(1, 90_000)
_CLOCK_48K = Fraction(1, 48_000)

# RFC 7845 5.1: version 1, 2 channels, no pre-skip, 48 kHz, no gain, mapping family 0.
OPUS_HEAD = b"OpusHead\x01\x02\x00\x00\x80\xbb\x00\x00\x00\x00\x00"


def save_picture(picture: av.VideoFrame, path: Path) -> None:
    """As PNG."""
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    rgb = picture.reformat(format="rgb24")
    encoder.width, encoder.height, encoder.pix_fmt = rgb.width, rgb.height, "rgb24"
    encoder.framerate = 1  # type: ignore[assignment]
    rgb.pts = 0
    data = b"".join(bytes(packet) for packet in [*encoder.encode(rgb), *encoder.encode(None)])
    path.write_bytes(data)


class Recording:
    """Received units as they are, muxed at the end. audio: (extended RTP time, payload)."""

    def __init__(self) -> None:
        self.video: list[tuple[int, Frame]] = []
        self.audio: list[tuple[int, bytes]] = []

    def save(self, path: Path) -> None:
        """Raises OSError, and av.FFmpegError if the first frame is no H.264 to be described."""
        start = io.BytesIO(canonical(self.video[0][1].nals))
        with (
            av.open(start, format="h264") as described,
            av.open(str(path), "w", format="matroska") as container,
        ):
            video = container.add_stream_from_template(described.streams.video[0])
            packets = self._video_packets(video)
            if self.audio:
                # The encoder is only opened for its description of the stream.
                audio = container.add_stream("libopus", rate=48_000, layout="stereo")
                packets += self._audio_packets(audio)
            for _, packet in sorted(packets, key=lambda item: item[0]):
                container.mux(packet)

    def _video_packets(self, stream: av.VideoStream) -> list[tuple[float, "av.Packet[Any]"]]:
        """Packets with the second they begin in. Decoding times are the showing times in order,
        moved back so that none is later than its frame's showing."""
        first = min(time for time, _ in self.video)
        ordered = sorted(time for time, _ in self.video)
        back = max(dts - time for dts, (time, _) in zip(ordered, self.video, strict=True))
        found = []
        for dts, (time, frame) in zip(ordered, self.video, strict=True):
            packet = av.Packet(canonical(frame.nals))
            packet.stream, packet.time_base = stream, _CLOCK_90K
            packet.pts, packet.dts = time - first, dts - back - first
            packet.is_keyframe = frame.starts_with_parameter_sets
            found.append(((dts - first) / 90_000, packet))
        return found

    def _audio_packets(self, stream: av.AudioStream) -> list[tuple[float, "av.Packet[Any]"]]:
        found = []
        in_order = sorted(self.audio)
        for time, payload in in_order:
            packet = av.Packet(payload)
            packet.stream, packet.time_base = stream, _CLOCK_48K
            packet.pts = packet.dts = time - in_order[0][0]
            found.append((packet.pts / 48_000, packet))
        return found
