"""One viewing session: the asyncio shell around sockets, tracks, node and sink."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any

from overlane.play.admission import Admission, Arrival, Source
from overlane.play.errors import PlayError
from overlane.play.node_api import NodeApi, TrackInfo, Viewer
from overlane.play.options import PlayOptions
from overlane.play.reassembly import AccessUnit
from overlane.play.receiver import Receiver
from overlane.play.report import (
    PlayEnd,
    PlayProgress,
    PlayReport,
    ProgressCallback,
    delay_report,
)
from overlane.play.sink import Sink, SinkResult
from overlane.play.summary import (
    Times,
    first_frame_ms,
    intact_records,
    judge_audio,
    play_out,
    ratio,
)
from overlane.play.tracks import AudioTrack, AudioUnit, VideoTrack
from overlane.play.unit_order import UnitOrder
from overlane.play.verdict import judge
from overlane.publish.manifest import Manifest, ManifestError, read_manifest
from overlane.publish.signals import stop_on_signals
from rtp.constants import RTCP_FIRST_MULTIPLEXED_TYPE, RTCP_LAST_MULTIPLEXED_TYPE
from rtp.errors import RtpParseError
from rtp.packet import RtpPacket

_TICK_S = 0.02  # how often units whose turn has come go to the decoder, and ends are looked for
_PROGRESS_S = 1.0
_RETRY_S = 1.0
_REFRESHES_PER_EXPIRY = 3


async def play(
    options: PlayOptions,
    on_progress: ProgressCallback | None = None,
    stop: asyncio.Event | None = None,
) -> PlayReport:
    """Play until the time or the stream is over, `stop` is set, or a signal or cancel comes.

    `on_progress` is called each second in the event loop. Raises PlayError.
    """
    stop = stop or asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(stop_on_signals(stop, enabled=options.handle_signals))
        return await _Session(options, on_progress, stop).run(stack)


class _Session:
    """Everything of one call of `play`."""

    def __init__(
        self, options: PlayOptions, on_progress: ProgressCallback | None, stop: asyncio.Event
    ) -> None:
        self._options = options
        self._on_progress = on_progress
        self._stop = stop
        self._started_us = self._subscribed_us = self._stopped_us = _now_us()
        self._video = VideoTrack()
        self._audio = AudioTrack()
        wait_us = options.playout_target_ms * 1_000
        self._frames: UnitOrder[AccessUnit] = UnitOrder(wait_us)
        self._sounds: UnitOrder[AudioUnit] = UnitOrder(wait_us)
        self._sink = Sink(options.save, options.picture, decode=options.decode)
        self._viewer = ""
        self._path: list[str] = []
        self._state = "live"
        self._subscriptions = 0
        self._frames_whole = 0
        self._first_key_us: int | None = None
        self._malformed = 0
        medias = ("video", "audio") if options.audio else ("video",)
        self._admission = {media: Admission() for media in medias}
        self._problems: list[str] = []

    async def run(self, stack: AsyncExitStack) -> PlayReport:
        executor = stack.enter_context(ThreadPoolExecutor(1, "decoder"))
        stack.callback(self._sink.finish)  # before the executor waits for its thread
        decoding = asyncio.get_running_loop().run_in_executor(executor, self._sink.run)
        with ExitStack() as sockets:
            receivers = {}
            for media in self._admission:
                on_datagram = partial(self._on_datagram, media)
                receivers[media] = Receiver(self._options.listen, on_datagram)
                sockets.callback(receivers[media].close)
            addresses = {media: receiver.address for media, receiver in receivers.items()}
            ended = await self._watch(addresses, decoding)
        times = Times(self._started_us, self._stopped_us)
        self._hand_over(times.stopped_us, drain=True)
        self._sink.finish()
        decoded = await decoding
        manifest = await asyncio.to_thread(self._read_manifest)
        return self._report(ended, times, decoded, manifest)

    async def _watch(
        self, addresses: dict[str, str], decoding: "asyncio.Future[SinkResult]"
    ) -> PlayEnd:
        """Subscribe, and stay until one of the ends."""
        async with NodeApi(self._options.node, self._options.stream) as api:
            stopping = asyncio.ensure_future(self._stop.wait())
            keeping = asyncio.ensure_future(self._keep_subscribed(api, addresses))
            watching = asyncio.ensure_future(self._until_end())
            tasks: tuple[asyncio.Future[Any], ...] = (stopping, keeping, watching, decoding)
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                self._stopped_us = _now_us()  # leaving takes its time, and is not watching
                for task in done:
                    task.result()
                await self._refresh(api, self._viewer)  # state and path as they are at the end
                return watching.result() if watching in done else "stopped"
            finally:
                for task in tasks[:3]:
                    task.cancel()
                await asyncio.gather(*tasks[:3], return_exceptions=True)
                if self._viewer:
                    await api.leave(self._viewer)

    async def _keep_subscribed(self, api: NodeApi, addresses: dict[str, str]) -> None:
        """Subscribe, refresh, and subscribe again when the node has forgotten.

        Only the first time is a refusal final; later there is a session to report on.
        """
        while True:
            try:
                granted = await api.subscribe(addresses, self._options.wait_seconds)
            except PlayError:
                if not self._viewer:
                    raise
                self._state = "lost"
                await asyncio.sleep(_RETRY_S)
                continue
            self._adopt(granted)
            await self._keep_alive(api, granted)

    def _adopt(self, granted: Viewer) -> None:
        if not self._viewer:
            self._subscribed_us = _now_us()
        self._viewer, self._state, self._path = granted.viewer, granted.state, granted.path
        self._subscriptions += 1
        self._announce(granted.tracks)
        if not granted.tracks:
            for media, admission in self._admission.items():
                for arrival in admission.open_to_all():
                    self._take(media, arrival)

    async def _keep_alive(self, api: NodeApi, granted: Viewer) -> None:
        """Until the node has forgotten the viewer; a node that is silent is asked again."""
        while True:
            await asyncio.sleep(granted.expires_s / _REFRESHES_PER_EXPIRY)
            if not await self._refresh(api, granted.viewer):
                return

    async def _refresh(self, api: NodeApi, viewer: str) -> bool:
        """False if the node has forgotten the viewer."""
        if not viewer:
            return False
        try:
            answer = await api.refresh(viewer)
        except PlayError:
            return True
        if answer is None:
            return False
        self._state, self._path = answer.state, answer.path or self._path
        self._announce(answer.tracks)
        return True

    async def _until_end(self) -> PlayEnd:
        next_progress_us = self._started_us
        while True:
            await asyncio.sleep(_TICK_S)
            now_us = _now_us()
            self._hand_over(now_us)
            if self._on_progress is not None and self._viewer and now_us >= next_progress_us:
                next_progress_us = now_us + round(_PROGRESS_S * 1_000_000)
                self._on_progress(self._progress(now_us))
            if (ended := self._end(now_us)) is not None:
                return ended

    def _end(self, now_us: int) -> PlayEnd | None:
        seconds = self._options.seconds
        if not self._viewer:
            return None
        if seconds is not None and now_us - self._subscribed_us >= seconds * 1_000_000:
            return "seconds"
        if self._state == "ended":
            return "ended"
        arrivals = (self._video.last_arrival_us, self._audio.last_arrival_us)
        last_us = max((time_us for time_us in arrivals if time_us is not None), default=now_us)
        return "idle" if now_us - last_us >= self._options.idle_seconds * 1_000_000 else None

    def _on_datagram(self, media: str, data: bytes, arrival_us: int, source: Source) -> None:
        packet = self._parse(data)
        if packet is not None:
            arrival = Arrival(packet, arrival_us, source)
            if self._admission[media].admit(arrival):
                self._take(media, arrival)

    def _announce(self, tracks: dict[str, TrackInfo]) -> None:
        """What the node says of the tracks; what waited for it is taken now."""
        for media, track in tracks.items():
            if media in self._admission:
                for arrival in self._admission[media].announce(track.ssrc, track.payload_type):
                    self._take(media, arrival)

    def _take(self, media: str, arrival: Arrival) -> None:
        if media == "video":
            self._on_video(arrival.packet, arrival.time_us)
        else:
            self._on_audio(arrival.packet, arrival.time_us)

    def _on_video(self, packet: RtpPacket, arrival_us: int) -> None:
        for unit in self._video.receive(packet, arrival_us):
            self._frames_whole += 1
            if unit.key and self._first_key_us is None:
                self._first_key_us = unit.completed_us
            self._frames.push(unit)

    def _on_audio(self, packet: RtpPacket, arrival_us: int) -> None:
        unit = self._audio.receive(packet, arrival_us)
        if unit is not None:
            self._sounds.push(unit)

    def _parse(self, data: bytes) -> RtpPacket | None:
        """None for RTCP, which shares the port (RFC 5761), and for what is no RTP."""
        if len(data) > 1 and RTCP_FIRST_MULTIPLEXED_TYPE <= data[1] <= RTCP_LAST_MULTIPLEXED_TYPE:
            return None
        try:
            return RtpPacket.parse(data)
        except RtpParseError:
            self._malformed += 1
            return None

    def _hand_over(self, now_us: int, *, drain: bool = False) -> None:
        """To the decoder: what is next, or all that is left."""
        frames = self._frames.drain() if drain else self._frames.ready(now_us)
        sounds = self._sounds.drain() if drain else self._sounds.ready(now_us)
        units: list[AccessUnit | AudioUnit] = [*frames, *sounds]
        for unit in units:
            self._sink.put(unit)

    def _progress(self, now_us: int) -> PlayProgress:
        first_key_us = self._first_key_us
        return PlayProgress(
            stream=self._options.stream,
            viewer=self._viewer,
            path=self._path,
            state=self._state,
            seconds=(now_us - self._started_us) / 1_000_000,
            packets_received=self._video.packets_received,
            packets_lost=self._video.packets_lost,
            frames_whole=self._frames_whole,
            first_frame_ms=first_key_us and (first_key_us - self._started_us) / 1_000,
        )

    def _read_manifest(self) -> Manifest | None:
        """None without one that can be read: the report is made all the same."""
        if self._options.manifest is None:
            return None
        try:
            return read_manifest(self._options.manifest)
        except ManifestError as error:
            self._problems.append(f"{error}; frames are not judged")
            return None

    def _report(
        self, ended: PlayEnd, times: Times, decoded: SinkResult, manifest: Manifest | None
    ) -> PlayReport:
        video, records = self._video, self._video.records()
        intact = intact_records(records, manifest)
        playout = play_out(
            intact,
            manifest,
            times,
            target_us=self._options.playout_target_ms * 1_000,
            ended=self._state == "ended" or ended == "idle",
        )
        verdict = None
        if manifest is not None:
            verdict = judge(
                manifest.frames,
                records,
                video.first_arrival_us,
                times.stopped_us,
                shares_clock=manifest.shares_clock,
            )
        return PlayReport(
            stream=self._options.stream,
            viewer=self._viewer,
            path=self._path,
            state=self._state,
            ended=ended,
            seconds=(times.stopped_us - times.started_us) / 1_000_000,
            frames_expected=verdict.expected if verdict else None,
            frames_intact=verdict.intact if verdict else len(intact),
            intact_ratio=ratio(verdict) if verdict else None,
            frames_incomplete=verdict.incomplete if verdict else len(records) - len(intact),
            frames_damaged=verdict.damaged if verdict else None,
            frames_late=verdict.late if verdict else None,
            frames_late_in_first_3s=verdict.late_in_catch_up if verdict else None,
            frames_complete=sum(record.completed_us is not None for record in records.values()),
            freezes=playout.freezes,
            freeze_ms=playout.freeze_ms,
            first_frame_ms=first_frame_ms(intact, times),
            delay_ms=delay_report(verdict.delays_us, verdict.smallest_delay_us)
            if verdict
            else None,
            packets_received=video.packets_received,
            packets_lost=video.packets_lost,
            packets_duplicate=video.packets_duplicate,
            packets_malformed=self._malformed + video.malformed,
            packets_foreign=sum(each.foreign for each in self._admission.values()),
            audio=judge_audio(self._audio, manifest, times.stopped_us),
            playout=playout,
            frames_decoded=decoded.frames_decoded,
            decode_errors=decoded.decode_errors,
            audio_packets_decoded=decoded.audio_packets_decoded,
            subscriptions=self._subscriptions,
            saved=None if decoded.saved is None else str(decoded.saved),
            picture=None if decoded.picture is None else str(decoded.picture),
            problems=[*decoded.problems, *self._problems],
        )


def _now_us() -> int:
    return time.monotonic_ns() // 1_000
