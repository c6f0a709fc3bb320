"""The shell of a node: sockets, the workers' threads, timers, signals. `admin` is its HTTP side.

The loop is always the same: one input to the node, all of its reports, one timer armed again.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from random import SystemRandom

import uvloop

from control_client.errors import ConnectionConfigError
from fastpath import EngineFullError
from relay import admin, descriptors, log
from relay.clock import now_us
from relay.collector import spare_what_lasts
from relay.config import NodeConfig
from relay.config_file import load
from relay.control.agent import ControlAgent
from relay.control_shell import ControlShell
from relay.edge.plain_rtp import NO_EXTENSIONS, Extensions, RtcpMode, Viewer
from relay.errors import RefusalCode, Refused, RelayError, WorkerError
from relay.events import SwitchRefused, ViewerLeft, ViewerStarted, ViewerSwitched, ViewerTurnedAway
from relay.loop_watch import LoopWatch
from relay.messages import Track
from relay.node import Node
from relay.slowpath.switch import MOVE_BY_US
from relay.sockets import open_sockets
from relay.workers import new_workers
from service import log as service_log
from service.address import Address, parse_address
from service.errors import ConfigError, ServiceError
from service.http_server import Server
from service.signals import stop_signals

EXIT_FAILED = 1
EXIT_BAD_CONFIG = 2
GOODBYE_S = 0.1  # chosen: a few turns of the worker, so that the last messages leave
JOIN_S = 2.0


class Daemon:
    """One running node. `run` returns when it was told to stop, or its worker has died."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self.workers = new_workers(config)
        self.workers.read_cpu_us = self._worker_cpu_us
        self.node = Node(config, self.workers, SystemRandom())
        self.logger = service_log.get_logger(node=config.name)
        self.control = (
            ControlShell(self.node, self.settle, self.logger) if config.controller else None
        )
        self.started_us = now_us()
        self.loop_watch = LoopWatch()
        self._threads = [
            threading.Thread(
                target=self._run_worker, args=(number,), name=f"worker-{number}", daemon=True
            )
            for number in range(len(self.workers))
        ]
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._switching: dict[str, asyncio.Future[str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stop = asyncio.Event()
        self._is_stopping = False

    @property
    def is_ready(self) -> bool:
        """The ports are open and the workers run."""
        return self._is_working and not self._is_stopping

    @property
    def _is_working(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    @property
    def agent(self) -> ControlAgent | None:
        """Of a node with a controller, once it has started."""
        return self.control.agent if self.control and self.control.is_started else None

    @property
    def uptime_us(self) -> int:
        """Since the daemon was made."""
        return now_us() - self.started_us

    async def run(self) -> int:
        """Serve until SIGTERM, SIGINT or SIGHUP. Returns the exit code. Raises RelayError at start.

        A signal during the start is obeyed as soon as the start is done.
        """
        loop = asyncio.get_running_loop()
        self._loop = loop
        for number in stop_signals():
            loop.add_signal_handler(number, self._stop.set)
        sockets = open_sockets(self.config, self.logger)
        await self._start_workers()
        try:
            held = await self.control.load() if self.control else None
            self.node.start(now_us(), sockets)
            server = await admin.start(self)
            if self.control is not None:
                self.control.start(held, parse_address(server.address))
        except BaseException:
            self._is_stopping = True
            self._stop_workers()
            raise
        for engine in self.workers.engines:
            loop.add_reader(engine.event_fd, self._on_engine_bell)
        self.settle()
        spare_what_lasts()
        self.loop_watch.start()
        self.logger.info("node_started", listen=self.config.listen, admin=server.address)
        try:
            await self._stop.wait()
        finally:
            has_failed = not self._is_working
            await self._close(server)
        self.logger.info("node_stopped")
        return EXIT_FAILED if has_failed else 0

    def settle(self) -> None:
        """After every input: take all reports, arm the timer again."""
        while (event := self.node.next_event()) is not None:
            log.report(self.logger, event)
            if self.control is not None:
                self.control.on_node_event(event)
            match event:
                case ViewerStarted(viewer):
                    if (started := self._waiting.get(viewer)) and not started.done():
                        started.set_result(None)
                case ViewerSwitched(viewer, stream):
                    if (switched := self._switching.get(viewer)) and not switched.done():
                        switched.set_result(stream)
                case SwitchRefused(viewer, _, code, text):
                    self._end_switch(viewer, code, text)
                case ViewerTurnedAway(viewer, code, text):
                    if (started := self._waiting.get(viewer)) and not started.done():
                        started.set_exception(Refused(code, text))
                    self._end_switch(viewer, code, text)
                case ViewerLeft(viewer):
                    self._end_switch(viewer, RefusalCode.NO_SUCH_STREAM, "the viewer has left")
        if self.control is not None:
            self.control.take_events()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_us = self.node.next_timer_us()
        if due_us is not None and not self._is_stopping:
            delay_s = max(0, due_us - now_us()) / 1_000_000
            self._timer = self._loop.call_later(delay_s, self._on_timer)

    async def tracks_of(self, stream: str) -> list[Track]:
        """What a broadcast consists of; one that is not here is asked for. Raises Refused."""
        if not (tracks := self.node.tracks_of(stream)):
            viewer = await self.add_viewer(stream, {})
            tracks = self.node.tracks_of(stream)
            self.remove_viewer(viewer)  # it stays a while, for the viewer that follows
        return tracks

    async def add_viewer(
        self,
        stream: str,
        addresses: Mapping[str, Address],
        *,
        rtcp: RtcpMode = "next",
        expiry_us: int | None = -1,
        rtx_payload_type: int | None = None,
        extensions: Extensions = NO_EXTENSIONS,
        is_premium: bool = False,
    ) -> Viewer:
        """Returns once the stream is on its way. Raises Refused."""
        viewer = self.node.add_viewer(
            stream,
            addresses,
            now_us(),
            rtcp=rtcp,
            expiry_us=expiry_us,
            rtx_payload_type=rtx_payload_type,
            extensions=extensions,
            is_premium=is_premium,
        )
        started = self._waiting[viewer.id] = self._loop.create_future()
        try:
            self.settle()
            async with asyncio.timeout(self.config.admin.viewer_wait_s):
                await started
        except TimeoutError:
            self.remove_viewer(viewer)
            text = f"{stream} did not come within {self.config.admin.viewer_wait_s:g} s"
            raise Refused(RefusalCode.TIME_OUT, text) from None
        except asyncio.CancelledError:
            self.remove_viewer(viewer)
            raise
        finally:
            del self._waiting[viewer.id]
        return viewer

    async def switch_viewer(self, viewer: Viewer, stream: str) -> None:
        """Returns once the viewer is sent the other stream. Raises Refused; a later switch of the
        same viewer ends the wait of an earlier one."""
        if (earlier := self._switching.pop(viewer.id, None)) is not None and not earlier.done():
            earlier.set_exception(Refused(RefusalCode.BAD_REQUEST, "it was switched again"))
        switched = self._switching[viewer.id] = self._loop.create_future()
        try:
            self.node.switch_viewer(viewer, stream, now_us())
            self.settle()
            async with asyncio.timeout(self.config.admin.viewer_wait_s + MOVE_BY_US / 1e6):
                await switched
        except TimeoutError:
            self.node.switch_viewer(viewer, viewer.broadcast, now_us())  # it stays
            self.settle()
            raise Refused(RefusalCode.TIME_OUT, f"{stream} did not come in time") from None
        finally:
            if self._switching.get(viewer.id) is switched:
                del self._switching[viewer.id]

    def _end_switch(self, viewer: str, code: RefusalCode, text: str) -> None:
        """There is nobody to go on with anything."""
        if (switched := self._switching.get(viewer)) and not switched.done():
            switched.set_exception(Refused(code, text))

    def refresh_viewer(self, viewer: Viewer) -> None:
        """It is still there."""
        self.node.refresh_viewer(viewer, now_us())
        self.settle()

    def remove_viewer(self, viewer: Viewer) -> None:
        """It left."""
        self.node.remove_viewer(viewer, now_us())
        self.settle()

    def _on_engine_bell(self) -> None:
        self.node.handle_engine_events(now_us())
        self.settle()

    def _on_timer(self) -> None:
        self._timer = None
        self.node.handle_timer(now_us())
        self.settle()

    async def _close(self, server: Server) -> None:
        self._is_stopping = True
        self.loop_watch.stop()
        self.node.stop()
        self.settle()
        await server.close()
        await asyncio.gather(asyncio.sleep(GOODBYE_S), self._leave_controller())
        for engine in self.workers.engines:
            self._loop.remove_reader(engine.event_fd)
        self._stop_workers()

    async def _leave_controller(self) -> None:
        if self.control is not None:
            await self.control.stop()

    async def _start_workers(self) -> None:
        """Before the first command: a large configuration has more than the mailbox holds."""
        atexit.register(self._stop_workers)
        for thread in self._threads:
            try:
                thread.start()
            except RuntimeError as error:
                self._is_stopping = True
                self._stop_workers()
                text = f"workers: {error}; is there a limit of threads or processes?"
                raise WorkerError(text) from None
        for engine in self.workers.engines:
            # A native thread sets no asyncio event.
            while self._is_working and not engine.is_running:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    def _run_worker(self, number: int) -> None:
        try:
            self._pin(number)
            self.workers.engines[number].run()
        except OSError as error:
            self.logger.error("worker_not_started", worker=number, reason=str(error))
        finally:
            if not self._is_stopping:
                self._loop.call_soon_threadsafe(self._on_worker_death)

    def _pin(self, number: int) -> None:
        """Of this thread alone."""
        if self.config.worker_cpus:
            cpu = self.config.worker_cpus[number]
            try:
                os.sched_setaffinity(0, {cpu})
            except OSError as error:
                self.logger.warning("worker_not_bound", worker=number, cpu=cpu, reason=str(error))

    def _worker_cpu_us(self) -> list[int]:
        """CPU time that each worker's thread has used; empty unless all run."""
        if not self._is_working:
            return []
        clocks = [time.pthread_getcpuclockid(thread.ident or 0) for thread in self._threads]
        return [time.clock_gettime_ns(clock) // 1000 for clock in clocks]

    def _on_worker_death(self) -> None:
        if not self._is_stopping:
            self.logger.error("worker_died")
            self._stop.set()

    def _stop_workers(self) -> None:
        """Also at interpreter exit: a thread that outlives it would crash it."""
        atexit.unregister(self._stop_workers)
        for engine in self.workers.engines:
            engine.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(JOIN_S)


def run(config_path: Path | str, overrides: Mapping[str, object] | None = None) -> int:
    """Run a node until it is told to stop. Returns the exit code; says on stderr what is wrong."""
    descriptors.open_missing()
    try:
        config = load(config_path, overrides)
    except ConfigError as error:
        service_log.say(error)
        return EXIT_BAD_CONFIG
    service_log.configure(config.log)

    async def serve() -> int:
        return await Daemon(config).run()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve())
    except (RelayError, ServiceError, EngineFullError, ConnectionConfigError) as error:
        service_log.say(f"overlane relay: {config.name}: {error}")
    except MemoryError:
        service_log.say(f"overlane relay: {config.name}: {_too_large(config)}")
    return EXIT_FAILED


def _too_large(config: NodeConfig) -> str:
    sizes = ", ".join(f"{key} = {value}" for key, value in config.limits.model_dump().items())
    return f"limits: this host has no memory for them, make them smaller: {sizes}"
