"""One viewing: the asyncio shell around receiving, checking, decoding and reporting."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import av

from overlane.player.decoding import Decoder, InOrder, Recording, save_picture
from overlane.player.frames import Frame, FrameBuilder
from overlane.player.node_client import NodeClient, PlayError
from overlane.player.options import PlayOptions
from overlane.player.playout import play_out
from overlane.player.receiver import Receiver
from overlane.player.report import AudioReport, DelayReport, PlayReport
from overlane.player.verdict import IN_TIME_US, Verdict, judge, percentile
from overlane.publish.manifest import Manifest, ManifestError, audio_hash, read_manifest
from overlane.publish.signals import stop_on_signals
from rtp.errors import RtpParseError
from rtp.packet import RtpPacket
from rtp.payload.rtp_header import looks_like_rtcp
from rtp.sequence import SequenceUnwrapper

_TICK_S = 0.05
_VIDEO_CLOCK = 90_000  # RFC 6184 8.2.1

OnProgress = Callable[[str], None]


async def play(options: PlayOptions, on_progress: OnProgress | None = None) -> PlayReport:
    """Watch until the time is over, the stream ends or falls silent, or a signal comes.

    Raises PlayError if the stream cannot be had or the manifest cannot be read.
    """
    stop = asyncio.Event()
    with stop_on_signals(stop, enabled=options.handle_signals):
        viewing = _Viewing(options)
        try:
            await viewing.watch(stop, on_progress)
        finally:
            viewing.close()
        return await asyncio.to_thread(viewing.report)


def _now_us() -> int:
    return time.monotonic_ns() // 1000


class _Source:
    """What comes with one SSRC: a node that forgot us serves us again with another."""

    def __init__(self) -> None:
        self.numbers = SequenceUnwrapper(16)
        self.builder = FrameBuilder()
        self.order = InOrder()


class _Viewing:
    def __init__(self, options: PlayOptions) -> None:
        self.options = options
        self.began_us = _now_us()
        self.first_packet_us: int | None = None
        self.last_packet_us = self.began_us
        self.stopped_us = self.began_us
        self.frames: list[Frame] = []
        self.malformed = 0
        self.audio_payloads: dict[int, tuple[int, str]] = {}
        self.recording = Recording() if options.save else None
        self.decoder = Decoder() if options.decode or options.picture else None
        self._sources: dict[int, _Source] = {}
        self._times = SequenceUnwrapper(32)
        self._audio_times = SequenceUnwrapper(32)
        self._audio_numbers: dict[int, SequenceUnwrapper] = {}
        self._video = Receiver(options.listen, self._on_video)
        self._audio = Receiver(options.listen, self._on_audio) if options.audio else None
        self.client: NodeClient | None = None

    async def watch(self, stop: asyncio.Event, on_progress: OnProgress | None) -> None:
        options = self.options
        addresses = {"video": self._video.address}
        if self._audio is not None:
            addresses["audio"] = self._audio.address
        client = NodeClient(options.node, options.stream, addresses, options.wait_seconds)
        self.client = client
        async with client:
            await client.join()
            refreshed_us = told_us = _now_us()
            while not stop.is_set() and not self._is_over(client):
                await asyncio.sleep(_TICK_S)
                now_us = _now_us()
                self._decode_due(now_us)
                if now_us - refreshed_us >= client.expires_s / 3 * 1_000_000:
                    refreshed_us = now_us
                    if not await client.refresh():
                        await client.join()
                if on_progress is not None and now_us - told_us >= 1_000_000:
                    told_us = now_us
                    on_progress(self._progress())
            self.stopped_us = _now_us()
            await client.refresh()
            await client.leave()

    def close(self) -> None:
        self._video.close()
        if self._audio is not None:
            self._audio.close()

    def _is_over(self, client: NodeClient) -> bool:
        now_us = _now_us()
        if self.options.seconds and now_us - self.began_us >= self.options.seconds * 1_000_000:
            return True
        if self.first_packet_us is None:
            return client.state == "ended"
        return now_us - self.last_packet_us >= self.options.idle_seconds * 1_000_000

    def _progress(self) -> str:
        seconds = (_now_us() - self.began_us) / 1_000_000
        state = self.client.state if self.client else "starting"
        received = sum(source.builder.received for source in self._sources.values())
        return f"{seconds:.0f} s, {state}: {len(self.frames)} frames, {received} video packets"

    # -- packets

    def _parse(self, data: bytes, arrival_us: int) -> RtpPacket | None:
        if looks_like_rtcp(data):
            return None
        try:
            packet = RtpPacket.parse(data)
        except RtpParseError:
            self.malformed += 1
            return None
        if self.first_packet_us is None:
            self.first_packet_us = arrival_us
        self.last_packet_us = max(self.last_packet_us, arrival_us)
        return packet

    def _on_video(self, data: bytes, arrival_us: int) -> None:
        packet = self._parse(data, arrival_us)
        if packet is None:
            return
        source = self._sources.setdefault(packet.ssrc, _Source())
        number = source.numbers.unwrap(packet.sequence_number)
        for frame in source.builder.feed(
            number, packet.timestamp, packet.marker, packet.payload, arrival_us
        ):
            self.frames.append(frame)
            for due in source.order.feed(frame, _now_us()):
                self._consume(due)

    def _on_audio(self, data: bytes, arrival_us: int) -> None:
        packet = self._parse(data, arrival_us)
        if packet is None:
            return
        if packet.timestamp in self.audio_payloads:
            return
        self.audio_payloads[packet.timestamp] = (arrival_us, audio_hash(packet.payload))
        if self.decoder is not None:
            self.decoder.audio(packet.payload)
        if self.recording is not None:
            self.recording.audio.append(
                (self._audio_times.unwrap(packet.timestamp), packet.payload)
            )

    def _decode_due(self, now_us: int, *, is_end: bool = False) -> None:
        for source in self._sources.values():
            for frame in source.order.due(now_us, is_end=is_end):
                self._consume(frame)

    def _consume(self, frame: Frame) -> None:
        if self.decoder is not None:
            self.decoder.video(frame)
        if self.recording is not None:
            self.recording.video.append((self._times.unwrap(frame.rtp_time), frame))

    # -- the end

    def report(self) -> PlayReport:
        """Raises PlayError."""
        for source in self._sources.values():
            self.frames += source.builder.rest()
        self._decode_due(self.stopped_us, is_end=True)
        if self.decoder is not None:
            self.decoder.finish()
        manifest = self._manifest()
        return self._summary(manifest, self._judge(manifest))

    def _manifest(self) -> Manifest | None:
        if self.options.manifest is None:
            return None
        try:
            return read_manifest(self.options.manifest)
        except ManifestError as error:
            raise PlayError(str(error)) from None

    def _judge(self, manifest: Manifest | None) -> Verdict:
        times = {time for source in self._sources.values() for time in source.builder.times}
        if manifest is not None:
            started_us = self.first_packet_us or self.stopped_us
            return judge(manifest, self.frames, times, started_us, self.stopped_us)
        complete = {frame.rtp_time for frame in self.frames}
        keys = [f.complete_us for f in self.frames if f.starts_with_parameter_sets]
        return Verdict(
            expected=len(times),
            intact=len(complete),
            damaged=0,
            incomplete=len(times - complete),
            late=0,
            late_in_first_3s=0,
            smallest_delay_us=None,
            delays_us=(),
            first_intact_key_us=min(keys, default=None),
        )

    def _summary(self, manifest: Manifest | None, verdict: Verdict) -> PlayReport:
        playout = play_out(self._timeline(manifest))
        builders = [source.builder for source in self._sources.values()]
        assert self.client is not None
        first_us = verdict.first_intact_key_us
        return PlayReport(
            stream=self.options.stream,
            viewer=self.client.viewer,
            state=self.client.state,
            path=self.client.path,
            seconds=round((self.stopped_us - self.began_us) / 1_000_000, 3),
            frames_expected=verdict.expected,
            frames_intact=verdict.intact,
            intact_ratio=round(verdict.intact / verdict.expected, 6) if verdict.expected else 0.0,
            frames_damaged=verdict.damaged,
            frames_incomplete=verdict.incomplete,
            frames_late=verdict.late,
            frames_late_in_first_3s=verdict.late_in_first_3s,
            frames_complete=len(self.frames),
            first_frame_ms=None
            if first_us is None
            else round((first_us - self.began_us) / 1000, 1),
            freezes=playout.freezes,
            freeze_ms=round(playout.freeze_us / 1000, 1),
            delay_ms=DelayReport(
                p50=_ms(percentile(verdict.delays_us, 0.5)),
                p99=_ms(percentile(verdict.delays_us, 0.99)),
                min=_ms(verdict.smallest_delay_us),
            ),
            packets_received=sum(b.received for b in builders) + len(self.audio_payloads),
            packets_lost=sum(b.lost for b in builders),
            packets_duplicate=sum(b.duplicates for b in builders),
            packets_malformed=self.malformed + sum(b.malformed for b in builders),
            audio=self._audio_report(manifest, verdict),
            frames_decoded=self.decoder.frames if self.decoder else 0,
            decode_errors=self.decoder.errors if self.decoder else 0,
            saved=self._save(),
            picture=self._picture(),
        )

    def _timeline(self, manifest: Manifest | None) -> list[tuple[int, int | None]]:
        """Media time and completion of each frame that was due, in the order of showing."""
        times = SequenceUnwrapper(32)
        complete = {times.unwrap(f.rtp_time): f.complete_us for f in self.frames}
        if not complete:
            return []
        due: dict[int, int | None] = dict(complete)
        if manifest is not None:
            first, last = min(complete), max(complete)
            for frame in manifest.frames:
                media = times.unwrap(frame.rtp_time)
                if first <= media <= last:
                    due.setdefault(media, None)
        return [(media * 1_000_000 // _VIDEO_CLOCK, due[media]) for media in sorted(due)]

    def _audio_report(self, manifest: Manifest | None, verdict: Verdict) -> AudioReport:
        received = len(self.audio_payloads)
        if manifest is None or not received:
            return AudioReport(packets_received=received)
        limit_us = self.stopped_us - IN_TIME_US - (verdict.smallest_delay_us or 0)
        first = next(
            (i for i, a in enumerate(manifest.audio) if a.rtp_time in self.audio_payloads),
            len(manifest.audio),
        )
        expected = [a for a in manifest.audio[first:] if a.sent_us <= limit_us]
        intact = [
            a
            for a in expected
            if a.rtp_time in self.audio_payloads and self.audio_payloads[a.rtp_time][1] == a.hash
        ]
        return AudioReport(
            packets_received=received, packets_expected=len(expected), intact=len(intact)
        )

    def _save(self) -> str | None:
        recording = self.recording
        if self.options.save is None or recording is None or not recording.video:
            return None
        _write(self.options.save, recording.save)
        return str(self.options.save)

    def _picture(self) -> str | None:
        picture = self.decoder.picture if self.decoder else None
        if self.options.picture is None or picture is None:
            return None
        _write(self.options.picture, lambda path: save_picture(picture, path))
        return str(self.options.picture)


def _write(path: Path, save: Callable[[Path], None]) -> None:
    try:
        save(path)
    except (OSError, av.FFmpegError) as error:
        raise PlayError(f"cannot write {path}: {error.strerror or error}") from None


def _ms(value_us: int | None) -> float | None:
    return None if value_us is None else round(value_us / 1000, 1)
