"""One publishing session: the asyncio shell around source, camera and transmitter."""

import asyncio
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import av

from overlane.publish.camera import Camera, monotonic_us
from overlane.publish.encoders import H264Encoder, OpusEncoder, VideoSettings
from overlane.publish.errors import PublishError
from overlane.publish.feedback import KeyFrameRequests
from overlane.publish.file_source import FileSource
from overlane.publish.manifest import ManifestWriter
from overlane.publish.media import AudioUnit, MediaSource, MediaUnit, VideoUnit
from overlane.publish.options import PublishOptions, split_address
from overlane.publish.pattern import PatternSource
from overlane.publish.report import ProgressCallback, PublishEnd, PublishReport
from overlane.publish.signals import stop_on_signals
from overlane.publish.transmitter import Transmitter
from rtp.errors import RtpError

REPORT_INTERVAL_S = 1.0  # sender reports and progress; RFC 3550 6.2 allows it at these rates
_FEEDBACK_DATAGRAMS = 16  # read after a unit; a node sends a few a second
_PATTERN_SIZE = (640, 360)
_PATTERN_FPS = 30


async def publish(
    options: PublishOptions,
    on_progress: ProgressCallback | None = None,
    stop: asyncio.Event | None = None,
) -> PublishReport:
    """Publish until the time or the file is over, `stop` is set, or a signal or cancel comes.

    The manifest is complete (last line written) in all these cases, unless it could not be written:
    the report says so then. `on_progress` is called each
    second in the event loop. Raises PublishError.
    """
    stop = stop or asyncio.Event()
    rng = random.Random(options.seed)
    with ExitStack() as stack:
        source = await asyncio.to_thread(_open_source, options, rng)
        stack.enter_context(closing(source))
        sockets = await _open_sockets(options, stack)
        manifest = _open_manifest(options, stack)
        stack.enter_context(stop_on_signals(stop, enabled=options.handle_signals))
        session = _Session(options, source, sockets, rng, manifest)
        return await session.run(on_progress, stop)


def _open_source(options: PublishOptions, rng: random.Random) -> MediaSource:
    if options.source is not None:
        return FileSource(
            options.source,
            copy_video=options.copy_video,
            audio=options.audio,
            size=(options.width, options.height),
        )
    width, height = options.width or _PATTERN_SIZE[0], options.height or _PATTERN_SIZE[1]
    seed = rng.getrandbits(32)
    return PatternSource(width, height, options.fps or _PATTERN_FPS, seed, options.audio)


async def _open_sockets(
    options: PublishOptions, stack: ExitStack
) -> tuple[socket.socket, socket.socket]:
    """Connected sockets for video and audio: one and the same if both go to one address."""
    video = stack.enter_context(await _connect(options.to))
    if options.audio_to is None or options.audio_to == options.to:
        return video, video
    return video, stack.enter_context(await _connect(options.audio_to))


async def _connect(address: str) -> socket.socket:
    host, port = split_address(address)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, target = found[0]
        connected = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PublishError(f"cannot reach {address}: {error.strerror}") from error
    except UnicodeError:
        raise PublishError(f"cannot reach {address}: {host!r} is no name of a host") from None
    connected.setblocking(False)
    try:
        connected.connect(target)
    except OSError as error:
        connected.close()
        raise PublishError(f"cannot reach {address}: {error.strerror}") from error
    return connected


def _open_manifest(options: PublishOptions, stack: ExitStack) -> ManifestWriter | None:
    if options.manifest is None:
        return None
    try:
        return stack.enter_context(ManifestWriter(options.manifest))
    except OSError as error:
        raise PublishError(f"cannot write {options.manifest}: {error.strerror}") from error


class _Session:
    """The tasks of one session, and the queues between them."""

    def __init__(
        self,
        options: PublishOptions,
        source: MediaSource,
        sockets: tuple[socket.socket, socket.socket],
        rng: random.Random,
        manifest: ManifestWriter | None,
    ) -> None:
        self._options = options
        self._source = source
        self._sockets = sockets
        self._manifest = manifest
        self._loop = asyncio.get_running_loop()
        self._video: asyncio.Queue[VideoUnit | None] = asyncio.Queue()
        self._audio: asyncio.Queue[AudioUnit | None] = asyncio.Queue()
        self._requests = KeyFrameRequests()
        self._transmitter = Transmitter(
            sockets, rng, source.fps, options.max_payload_bytes, manifest
        )
        settings = VideoSettings(
            width=source.width,
            height=source.height,
            fps=source.fps,
            bitrate_bps=options.bitrate_bps,
            gop_s=options.gop_s,
            b_frames=options.b_frames,
            preset=options.preset,
            zerolatency=options.zerolatency,
        )
        self._camera = Camera(
            source,
            H264Encoder(settings),
            OpusEncoder(options.audio_bitrate_bps),
            self._deliver_from_thread,
            options.seconds,
        )

    async def run(self, on_progress: ProgressCallback | None, stop: asyncio.Event) -> PublishReport:
        size = (self._source.width, self._source.height)
        self._transmitter.write_header(
            self._options.stream, size, self._source.fps, self._source.has_audio
        )
        with ThreadPoolExecutor(1, "encoder") as executor:
            capture = self._loop.run_in_executor(executor, self._camera.run)
            tasks = [
                self._loop.create_task(self._finish_after(capture)),
                self._loop.create_task(self._send_video()),
                self._loop.create_task(self._send_audio()),
                self._loop.create_task(self._tell(on_progress)),
                self._loop.create_task(self._stop_camera_after(stop)),
            ]
            try:
                await self._wait_for(tasks[:3], tasks)
            finally:
                self._camera.stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._transmitter.write_end()
        return self._report("stopped" if stop.is_set() else "finished")

    @staticmethod
    async def _wait_for(
        needed: list["asyncio.Task[None]"], tasks: list["asyncio.Task[None]"]
    ) -> None:
        """Until all `needed` are done; the first error in any task is raised."""
        pending = set(tasks)
        while pending.intersection(needed):
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    def _deliver_from_thread(self, unit: MediaUnit) -> None:
        self._loop.call_soon_threadsafe(self._deliver, unit)

    def _deliver(self, unit: MediaUnit) -> None:
        if isinstance(unit, VideoUnit):
            self._video.put_nowait(unit)
        else:
            self._audio.put_nowait(unit)

    async def _finish_after(self, capture: "asyncio.Future[None]") -> None:
        try:
            await capture
        except (av.FFmpegError, RtpError) as error:
            raise PublishError(f"the source failed: {error}") from error
        # Units were handed over by call_soon before this, so the ends come last.
        self._video.put_nowait(None)
        self._audio.put_nowait(None)

    async def _send_video(self) -> None:
        while (unit := await self._video.get()) is not None:
            await self._transmitter.send_frame(unit)
            self._take_feedback()

    async def _send_audio(self) -> None:
        while (unit := await self._audio.get()) is not None:
            await self._transmitter.send_audio(unit)
            self._take_feedback()

    async def _tell(self, on_progress: ProgressCallback | None) -> None:
        """To the node, once a second and a little after the start, and to the caller."""
        await asyncio.sleep(REPORT_INTERVAL_S / 10)
        while True:
            await self._transmitter.send_reports(monotonic_us() - self._camera.start_us)
            if on_progress is not None:
                on_progress(self._report("running"))
            await asyncio.sleep(REPORT_INTERVAL_S)

    async def _stop_camera_after(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._camera.stop()

    def _take_feedback(self) -> None:
        """What the node has sent back, looked for after each unit: libuv stops watching a socket
        for good once an ICMP error was on it, as of a node that is away."""
        for via in set(self._sockets):
            for _ in range(_FEEDBACK_DATAGRAMS):
                try:
                    data = via.recv(2048)
                except BlockingIOError:
                    break
                except ConnectionRefusedError:  # an earlier packet's; reading it has cleared it
                    self._transmitter.counters.packets_refused += 1
                    continue
                if self._requests.receive_datagram(data, monotonic_us()):
                    self._camera.request_key_frame()

    def _report(self, ended: PublishEnd) -> PublishReport:
        counters, video = self._transmitter.counters, self._transmitter.video
        elapsed_us = max(1, monotonic_us() - self._camera.start_us)
        manifest = self._options.manifest
        return PublishReport(
            stream=self._options.stream,
            ended=ended,
            seconds=round(elapsed_us / 1_000_000, 3),
            width=self._source.width,
            height=self._source.height,
            fps=self._source.fps,
            frames=counters.frames,
            key_frames=counters.key_frames,
            video_packets=video.packets,
            audio_packets=self._transmitter.audio.packets,
            packets_sent=counters.packets_sent,
            bytes_sent=counters.bytes_sent,
            packets_refused=counters.packets_refused,
            key_frame_requests=self._requests.received,
            video_bps=video.payload_bytes * 8 * 1_000_000 // elapsed_us,
            behind_ms_max=self._camera.behind_us_max / 1_000,
            manifest=None if manifest is None else str(manifest),
            problems=[self._manifest.problem] if self._manifest and self._manifest.problem else [],
        )
