"""Sends units as RTP over UDP, spread out in time, and writes each into the manifest."""

import asyncio
import random
import socket
import time
from dataclasses import dataclass

from overlane.publish.camera import monotonic_us
from overlane.publish.errors import PublishError
from overlane.publish.manifest import (
    CLOCK_NAME,
    MANIFEST_VERSION,
    AudioTrack,
    End,
    Header,
    ManifestWriter,
    SentAudio,
    SentFrame,
    VideoTrack,
    audio_hash,
    boot_id,
)
from overlane.publish.media import AUDIO_CLOCK_RATE, VIDEO_CLOCK_RATE, AudioUnit, VideoUnit
from overlane.publish.pacer import plan_bursts
from overlane.publish.track import AUDIO_PAYLOAD_TYPE, VIDEO_PAYLOAD_TYPE, Numbers, RtpTrack
from rtp.payload.h264_packets import access_unit_hash, packetize

_RETRY_S = 0.001  # while the socket's buffer is full


@dataclass(slots=True)
class Counters:
    """What has left so far."""

    frames: int = 0
    key_frames: int = 0
    packets_sent: int = 0
    bytes_sent: int = 0
    packets_refused: int = 0


class Transmitter:
    """Two tracks over one or two connected, non-blocking sockets."""

    def __init__(
        self,
        sockets: tuple[socket.socket, socket.socket],
        rng: random.Random,
        fps: float,
        max_payload_bytes: int,
        manifest: ManifestWriter | None,
    ) -> None:
        self._video_socket, self._audio_socket = sockets
        self._frame_interval_us = round(1_000_000 / fps)
        self._max_payload_bytes = max_payload_bytes
        self._manifest = manifest
        self._cname = f"{rng.getrandbits(96):024x}"  # RFC 7022 4.2: short-term and unlinkable
        self.video = RtpTrack(VIDEO_PAYLOAD_TYPE, VIDEO_CLOCK_RATE, Numbers.draw(rng))
        self.audio = RtpTrack(AUDIO_PAYLOAD_TYPE, AUDIO_CLOCK_RATE, Numbers.draw(rng))
        self.counters = Counters()
        # Wall time as it was at the start, carried on: receivers align tracks by it, and a clock
        # that is set meanwhile would tear them apart.
        self._unix_start_us = time.time_ns() // 1_000 - monotonic_us()

    def write_header(self, stream: str, size: tuple[int, int], fps: float, audio: bool) -> None:
        video_track = VideoTrack(
            payload_type=self.video.payload_type,
            clock_rate=self.video.clock_rate,
            ssrc=self.video.ssrc,
            width=size[0],
            height=size[1],
            fps=fps,
        )
        audio_track = AudioTrack(
            payload_type=self.audio.payload_type,
            clock_rate=self.audio.clock_rate,
            ssrc=self.audio.ssrc,
        )
        if self._manifest is not None:
            self._manifest.write(
                Header(
                    version=MANIFEST_VERSION,
                    stream=stream,
                    clock=CLOCK_NAME,
                    video=video_track,
                    audio=audio_track if audio else None,
                    boot_id=boot_id(),
                )
            )

    def write_end(self) -> None:
        if self._manifest is not None:
            self._manifest.write(
                End(
                    end=True,
                    frames=self.counters.frames,
                    video_packets=self.video.packets,
                    audio_packets=self.audio.packets,
                    packets_sent=self.counters.packets_sent,
                )
            )

    async def send_frame(self, unit: VideoUnit) -> None:
        payloads = packetize(unit.nals, self._max_payload_bytes)
        packets = self.video.packetise(payloads, unit.ticks, marker=True)
        started_us = sent_us = monotonic_us()
        first = 0
        for burst in plan_bursts(len(packets), self._frame_interval_us):
            await _sleep_until(started_us + burst.offset_us)
            for packet in packets[first : first + burst.packets]:
                sent_us = monotonic_us()
                await self._send(self._video_socket, packet)
            first += burst.packets
        if self._manifest is not None:
            self._manifest.write(
                SentFrame(
                    frame=self.counters.frames,
                    capture_us=unit.capture_us,
                    sent_us=sent_us,
                    rtp_time=self.video.rtp_time(unit.ticks),
                    packets=len(packets),
                    bytes=sum(map(len, payloads)),
                    key=unit.key,
                    hash=access_unit_hash(unit.nals),
                )
            )
        self.counters.frames += 1
        self.counters.key_frames += unit.key

    async def send_audio(self, unit: AudioUnit) -> None:
        sequence_number = self.audio.next_sequence_number
        # RFC 3551 4.1: the marker tells the start of a talkspurt.
        begins = self.audio.packets == 0
        (packet,) = self.audio.packetise([unit.payload], unit.ticks, marker=begins)
        sent_us = monotonic_us()
        await self._send(self._audio_socket, packet)
        if self._manifest is not None:
            self._manifest.write(
                SentAudio(
                    audio=sequence_number,
                    sent_us=sent_us,
                    rtp_time=self.audio.rtp_time(unit.ticks),
                    hash=audio_hash(unit.payload),
                )
            )

    async def send_reports(self, media_us: int) -> None:
        """A sender report for each track that has begun. media_us: what is captured now."""
        unix_us = self._unix_start_us + monotonic_us()
        for track, via in ((self.video, self._video_socket), (self.audio, self._audio_socket)):
            if track.packets:
                await self._send(via, track.sender_report(unix_us, media_us, self._cname))

    async def _send(self, via: socket.socket, packet: bytes) -> None:
        """A send may fail with what became of an earlier packet: once more, then it is lost."""
        refusals = 0
        while refusals < 2:
            try:
                via.send(packet)
            except BlockingIOError:
                await asyncio.sleep(_RETRY_S)
            except ConnectionRefusedError:
                refusals += 1
                self.counters.packets_refused += 1
            except OSError as error:
                raise PublishError(f"cannot send to {via.getpeername()}: {error}") from error
            else:
                self.counters.packets_sent += 1
                self.counters.bytes_sent += len(packet)
                return


async def _sleep_until(time_us: int) -> None:
    wait_us = time_us - monotonic_us()
    if wait_us > 0:
        await asyncio.sleep(wait_us / 1_000_000)
