"""The shell of the brain: sockets, timers, signals, its state on disk. `api` is its HTTP side.

The loop is always the same: inputs to the brain, then one turn for all that came together: all of
its outputs, all of its events, one timer armed again.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import SystemRandom
from typing import TypeAlias

import uvloop

from controller import api, log
from controller.brain import Brain
from controller.config import ControllerConfig
from controller.config_file import load
from controller.control_server import ControlServer
from controller.core.events import StateChanged, StateIgnored
from controller.errors import ControllerError
from controller.metrics import BrainCollector, new_registry
from controller.state_dir import StateDir
from controller.tls import report_failures, server_context
from service import log as service_log
from service.errors import ConfigError, ServiceError
from service.http_server import start_server

EXIT_FAILED = 1
EXIT_BAD_CONFIG = 2

Reload: TypeAlias = Callable[[], ControllerConfig]


class Daemon:
    """One running brain. reload: reads its configuration again, for SIGHUP; None: SIGHUP is for
    nothing. Raises ControllerError."""

    def __init__(
        self, config: ControllerConfig, state_dir: StateDir, reload: Reload | None = None
    ) -> None:
        self.config = config
        self.logger = service_log.get_logger(brain=config.listen)
        self.registry, self.counters = new_registry()
        self._state_dir = state_dir
        self._reload = reload
        self._clock_offset_us = time.time_ns() // 1000 - time.monotonic_ns() // 1000
        term = state_dir.next_term(time.time_ns() // 1_000_000_000)
        self.brain = Brain(
            config.settings(),
            term=term,
            master_key=state_dir.master_key(),
            state=state_dir.load(),
            rng=SystemRandom(),
            now_us=self.now_us(),
        )
        self.registry.register(BrainCollector(self.brain, self.counters))
        self._control = ControlServer(self.brain, self.now_us, self.wake)
        self.control_address = self.api_address = ""  # known once they listen
        self._stop = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._is_awake = False
        self._is_serving = False
        self._is_save_wanted = False
        self._saving: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None

    def now_us(self) -> int:
        """Unix time at the start, then steady: it goes on over restarts and never steps."""
        return time.monotonic_ns() // 1000 + self._clock_offset_us

    @property
    def is_ready(self) -> bool:
        """The ports are open and tables are made."""
        return self._is_serving and self.brain.is_ready

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT. Returns the exit code. Raises ServiceError at start."""
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        self._loop.add_signal_handler(signal.SIGHUP, self._on_hang_up)
        config = self.config
        tls = None
        if config.certificate_file is not None and config.key_file is not None:
            tls = server_context(config.certificate_file, config.key_file, config.client_ca_file)
            report_failures(tls, self._on_tls_failure)
        admin = await api.start(self)
        try:
            control = await start_server(
                self._control.application(), "listen", config.endpoint, tls
            )
        except ServiceError:
            await admin.close()
            raise
        self.control_address, self.api_address = control.address, admin.address
        self._is_serving = True
        self.wake()
        self.logger.info(
            "brain_started", listen=control.address, api=admin.address, term=self.brain.term
        )
        await self._stop.wait()
        self._is_serving = False
        last_state = self.brain.state()  # while nodes are connected: the next start waits for them
        await self._control.close()
        await control.close()
        await admin.close()
        await self._finish(last_state)
        self.logger.info("brain_stopped")
        return 0

    def stop(self) -> None:
        """`run` returns soon."""
        self._stop.set()

    def wake(self) -> None:
        """The brain has had an input: its turn comes once for all that arrived together."""
        if not self._is_awake:
            self._is_awake = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_awake = False
        began = time.perf_counter()
        while (output := self.brain.next_output()) is not None:
            self._control.carry_out(output)
        while (event := self.brain.next_event()) is not None:
            log.report(self.logger, event)
            match event:
                case StateChanged():
                    self._save()
                case StateIgnored():
                    self._set_state_aside()
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0, self.brain.next_timer_us() - self.now_us()) / 1_000_000
        self._timer = self._loop.call_later(delay_s, self._on_timer)
        self.counters.connections_cut = self._control.cut
        self.counters.turn.observe(time.perf_counter() - began)

    def _on_tls_failure(self, reason: str) -> None:
        self.counters.tls_failures += 1
        self.logger.warning("tls_failed", reason=reason)

    def _on_timer(self) -> None:
        self._timer = None
        self.brain.handle_timer(self.now_us())
        self._turn()

    # -- state

    def _save(self) -> None:
        """In a thread, one at a time; the disk may take its time."""
        if not self._is_serving:
            return  # the last one is of when nodes were connected
        if self._saving is not None and not self._saving.done():
            self._is_save_wanted = True
            return
        self._saving = self._loop.create_task(self._save_all())

    async def _save_all(self) -> None:
        """Also what changes meanwhile: a slow disk is always at it."""
        self._is_save_wanted = True
        while self._is_save_wanted:
            self._is_save_wanted = False
            await self._save_now(self.brain.state())

    async def _save_now(self, state: bytes) -> None:
        try:
            await asyncio.to_thread(self._state_dir.save, state)
        except OSError as error:
            self.counters.saves["failed"] += 1
            self.logger.error("state_not_saved", reason=error.strerror, size_bytes=len(state))
        else:
            self.counters.saves["done"] += 1

    def _set_state_aside(self) -> None:
        try:
            aside = self._state_dir.set_aside()
        except OSError as error:
            self.logger.warning("state_not_kept", reason=error.strerror)
        else:
            self.logger.warning("state_set_aside", file=str(aside))

    async def _finish(self, last_state: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._is_save_wanted = False
        if self._saving is not None:
            await self._saving
        await self._save_now(last_state)

    # -- the list of nodes

    def _on_hang_up(self) -> None:
        if self._reload is None or (self._reloading is not None and not self._reloading.done()):
            return
        self._reloading = self._loop.create_task(self._read_nodes(self._reload))

    async def _read_nodes(self, reload: Reload) -> None:
        try:
            config = await asyncio.to_thread(reload)
        except ConfigError as error:
            for problem in error.problems:
                self.logger.error("configuration_not_read", problem=str(problem))
            return
        self.brain.set_nodes(config.known_nodes, config.last_resort, self.now_us())
        self.wake()


def run(config_path: Path | str, overrides: Mapping[str, object] | None = None) -> int:
    """Run a brain until it is told to stop. Returns the exit code; says on stderr what is wrong."""

    def read() -> ControllerConfig:
        return load(config_path, overrides)

    try:
        config = read()
    except ConfigError as error:
        service_log.say(error)
        return EXIT_BAD_CONFIG
    service_log.configure(config.log)

    async def serve(state_dir: StateDir) -> int:
        return await Daemon(config, state_dir, read).run()

    try:
        state_dir = StateDir(config.state_dir)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(serve(state_dir))
        finally:
            state_dir.close()
    except (ControllerError, ServiceError) as error:
        service_log.say(f"overlane controller: {error}")
    return EXIT_FAILED
