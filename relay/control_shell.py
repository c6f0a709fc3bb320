"""The shell of a node's control side: its connection to the brain, its table on disk, its timer.

Beside `daemon` the only module of this package that does I/O. A file that cannot be read or written
and a brain that is not there are told and lived with: media is the purpose.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from random import SystemRandom

from control_client.connection import ControlConnection
from control_client.errors import TableFileError
from control_client.session import Identity, NodeSession
from control_client.session_events import SessionEvent
from control_client.table import HeldTable
from control_client.table_store import TableStore
from relay import log
from relay.clock import now_us
from relay.config import Controller, NodeConfig
from relay.config_checks import tls_of
from relay.control.agent import ControlAgent
from relay.control.agent_events import StoreTable
from relay.events import NodeEvent
from relay.node import Node
from service.address import Address, format_address, ip_of, parse_address
from service.log import Logger

GOODBYE_S = 1.0  # chosen: a close that a brain on another continent has heard


class ControlShell:
    """One node's. settle: called after whatever came from the brain or from time."""

    def __init__(self, node: Node, settle: Callable[[], None], logger: Logger) -> None:
        assert node.config.controller is not None
        assert node.config.controller.table_file is not None
        self.config: Controller = node.config.controller
        self._node = node
        self._settle = settle
        self._logger = logger
        self._store = TableStore(node.config.controller.table_file, node.config.name)
        self._agent: ControlAgent | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._to_store: HeldTable | None = None
        self._storing: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def agent(self) -> ControlAgent:
        """Once it was started."""
        assert self._agent is not None
        return self._agent

    @property
    def is_started(self) -> bool:
        """Whether there is an agent."""
        return self._agent is not None

    async def load(self) -> HeldTable | None:
        """The table kept from before; call it first."""
        try:
            return await asyncio.to_thread(self._store.load)
        except TableFileError as error:
            self._logger.error("stored_table_unreadable", problem=str(error))
            return None

    def start(self, held: HeldTable | None, admin: Address) -> None:
        """After the node has. admin: where its API listens. Raises ConnectionConfigError."""
        config, started_us = self._node.config, now_us()
        assert self.config.token is not None
        rng = SystemRandom()
        identity = Identity(config.name, self.config.token, rng.getrandbits(63), _software())
        self.session = NodeSession(identity, rng, started_us, held)
        self._agent = ControlAgent(
            self._node,
            self.session,
            started_us,
            read_cpu_us=lambda: time.process_time_ns() // 1000,
            admin_url=_admin_url(config, admin),
        )
        self._connection = ControlConnection(
            self.config.url,
            self.session,
            self._on_session_event,
            tls=tls_of(self.config),
            allow_plain_text=self.config.allow_plain_text,
        )
        if self.config.is_plain_text:
            self._logger.warning("control_in_plain_text", url=self.config.url)
        self._running = asyncio.create_task(self._connection.run())
        self._running.add_done_callback(self._on_run_end)

    def on_node_event(self, event: NodeEvent) -> None:
        """Each one."""
        self.agent.handle_node_event(event, now_us())
        self._connection.flush()

    def take_events(self) -> None:
        """After every input: carry out, log, arm the timer again."""
        while (event := self.agent.next_event()) is not None:
            if isinstance(event, StoreTable):
                self._to_store = event.held
                if self._storing is None:
                    self._storing = asyncio.create_task(self._save())
            else:
                log.report(self._logger, event)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._is_stopping:
            delay_s = max(0, self.agent.next_timer_us() - now_us()) / 1_000_000
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    async def stop(self) -> None:
        """Say goodbye to the brain, within a second; finish what is being written."""
        self._is_stopping = True
        if self._timer is not None:
            self._timer.cancel()
        self.session.stop(now_us())
        self._connection.flush()
        await asyncio.wait((self._running,), timeout=GOODBYE_S)
        self._running.cancel()
        waits = [self._running] if self._storing is None else [self._running, self._storing]
        await asyncio.wait(waits)

    def _on_session_event(self, event: SessionEvent) -> None:
        self.agent.handle_session_event(event, now_us())
        self._settle()

    def _on_timer(self) -> None:
        self._timer = None
        self.agent.handle_timer(now_us())
        self._connection.flush()
        self._settle()

    async def _save(self) -> None:
        """The newest, one at a time."""
        while (held := self._to_store) is not None:
            self._to_store, problem = None, None
            try:
                await asyncio.to_thread(self._store.save, held)
            except TableFileError as error:
                problem = str(error)
            self.agent.on_stored(held.version, problem, now_us())
            self._connection.flush()
            self._settle()
        self._storing = None

    def _on_run_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._logger.error("control_died", exc_info=error)


def _software() -> str:
    try:
        return f"overlane {version('overlane')}"
    except PackageNotFoundError:
        return "overlane"


def _admin_url(config: NodeConfig, admin: Address) -> str:
    """A wildcard is reached where the overlay is."""
    host, port = admin
    if ip_of(admin).is_unspecified:
        host = parse_address(config.advertised_as or config.listen)[0]
    return f"http://{format_address((host, port))}"
