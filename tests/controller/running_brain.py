"""A brain's daemon in the test's own event loop, with a lab's authority and nodes' tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from control_client.certificates import KeyPair, issue, new_lab_ca
from control_client.connection import Tls
from control_client.tokens import token_hash
from controller.config_file import load
from controller.daemon import Daemon
from controller.state_dir import StateDir
from tests.support.control_channel import token_of

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Site:
    """A directory with all that a brain of these nodes needs."""

    directory: Path
    names: tuple[str, ...] = ("london", "tokyo")

    @property
    def tls(self) -> Tls:
        """What a node knows."""
        return Tls(self.directory / "ca.pem")

    @property
    def config(self) -> Path:
        return self.directory / "brain.toml"

    def make(self) -> Site:
        now = datetime.now(UTC)
        ca = new_lab_ca("lab", now)
        self.write("ca", ca)
        self.write("brain", issue(ca, "brain", ("127.0.0.1",), "brain", now))
        lines = [
            'listen = "127.0.0.1:0"',
            'certificate_file = "brain.pem"',
            'key_file = "brain.key"',
            'state_dir = "state"',
            '[api]\nlisten = "127.0.0.1:0"',
        ]
        for number, name in enumerate(self.names, 1):
            digest = token_hash(token_of(name))
            lines.append(f'[[nodes]]\nname = "{name}"\nnode_id = {number}\ntoken_hash = "{digest}"')
        self.config.write_text("\n".join(lines) + "\n")
        return self

    def write(self, name: str, pair: KeyPair) -> None:
        (self.directory / f"{name}.pem").write_bytes(pair.certificate_pem)
        (self.directory / f"{name}.key").write_bytes(pair.key_pem)


@asynccontextmanager
async def running(site: Site, **overrides: object) -> AsyncIterator[Daemon]:
    """Stopped as by SIGTERM at the end; its exit code is 0 then. overrides: a_b for a.b."""
    flags = {key.replace("__", "."): value for key, value in overrides.items()}

    config = load(site.config, flags)
    state_dir = StateDir(config.state_dir)
    try:
        daemon = Daemon(config, state_dir, lambda: load(site.config, flags))
        task = asyncio.create_task(daemon.run())
        try:
            await until(lambda: task.done() or bool(daemon.control_address))
            if task.done():
                task.result()
            yield daemon
        finally:
            daemon.stop()
            assert await asyncio.wait_for(task, PATIENCE_S) == 0
    finally:
        state_dir.close()


async def until(condition: Callable[[], bool]) -> None:
    """Looks again and again, and gives up after a while."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  some conditions are the log's
            await asyncio.sleep(0.01)
