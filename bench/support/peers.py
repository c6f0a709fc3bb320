"""Relays of others beside ours: rtpengine, coturn and nginx, as Debian packages them.

Each runs as a process of its own in the bench's network, with a configuration in a temporary
directory, on the relay's core, and takes the generator's plain RTP to the sink's receivers as plain
RTP. Its CPU time is that of all its threads.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from bench.support.case import Case
from bench.support.native import BenchError
from bench.support.network import Address
from bench.support.relays import Place, Sent

LOOPBACK = "127.0.0.1"
START_S = 10.0
END_S = 5.0
POLL_S = 0.02
# Servers lie in sbin, which is not in every user's PATH.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/bin"])


def which(name: str) -> str | None:
    return shutil.which(name, path=PATH)


@contextlib.contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """What this thread starts meanwhile runs there, with all its threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


def is_bound(port: int) -> bool:
    """Whether a UDP socket of this thread's network has the port."""
    lines = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
    return any(int(line.split()[1].rpartition(":")[2], 16) == port for line in lines)


class PeerProcess:
    """A server of somebody else, from its start to its end; what it says is kept."""

    def __init__(self, name: str, command: list[str], directory: Path, cores: set[int]) -> None:
        self._name, self._command = name, command
        self._directory, self._cores = directory, cores
        self._log = directory / "log"
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # The kernel ends it with us, should we be killed.
        with on_cores(self._cores), self._log.open("wb") as log:
            return subprocess.Popen(
                [which("setpriv") or "setpriv", "--pdeathsig", "KILL", *self._command],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self) -> str:
        """Since it was started."""
        return self._log.read_text(errors="replace").strip()

    def wait_for_port(self, port: int) -> None:
        end = time.monotonic() + START_S
        while not is_bound(port):
            self.check()
            if time.monotonic() > end:
                raise BenchError(
                    f"{self._name}: not ready within {START_S:.0f} s{self._last_line()}"
                )
            time.sleep(POLL_S)

    def check(self) -> None:
        """BenchError if it has ended."""
        if self._process.poll() is not None:
            status = self._process.returncode
            raise BenchError(f"{self._name} ended with status {status}{self._last_line()}")

    def schedstats(self) -> list[Path]:
        """None of these servers ends a thread, so no time is lost with one."""
        self.check()
        return [task / "schedstat" for task in Path(f"/proc/{self.pid}/task").iterdir()]

    def restart(self) -> None:
        self.close()
        self._process = self._start()

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_line(self) -> str:
        lines = self.said().splitlines()
        return f": {lines[-1]}" if lines else ""


class Peer:
    """What the three share, and what makes them relays of the bench (relays.Relay)."""

    name: str
    package: ClassVar[str]  # that brings it, on Debian
    executable: ClassVar[str]
    max_fanout: ClassVar[int]

    ingest: Address
    thread: PeerProcess

    def __init__(self, place: Place) -> None:
        self.check_installed()
        self.place = place
        self._folder = tempfile.TemporaryDirectory(prefix=f"overlane-bench-{self.name}-")
        self.directory = Path(self._folder.name)
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @classmethod
    def find(cls) -> str | None:
        """The path of its executable."""
        return which(cls.executable)

    @classmethod
    def check_installed(cls) -> None:
        """Raises BenchError with the command that installs it."""
        if cls.find() is None:
            raise BenchError(f"{cls.name} is not installed: apt-get install {cls.package}")

    @classmethod
    def can_do(cls, case: Case) -> bool:
        """Plain RTP in, plain RTP out, to as many receivers as it can serve."""
        return case.kind == "edge" and case.pacing == "saturated" and case.fanout <= cls.max_fanout

    def start(self) -> None:
        """Runs the server and sets `ingest`."""
        raise NotImplementedError

    def run(self, *options: str) -> None:
        command = [self.find() or self.executable, *options]
        self.thread = PeerProcess(self.name, command, self.directory, self.place.cores)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def sent(self) -> Sent | None:
        """It does not tell; what is missing at the receivers is put down to it."""
        return None

    def is_settled(self) -> bool:
        return True

    def close(self) -> None:
        if hasattr(self, "thread"):
            self.thread.close()
        self._folder.cleanup()


class Nginx(Peer):
    """The UDP proxy of nginx's stream module: one session, to one receiver."""

    name = "nginx"
    package = "nginx libnginx-mod-stream"
    executable = "nginx"
    max_fanout = 1
    MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

    @classmethod
    def check_installed(cls) -> None:
        super().check_installed()
        if not cls.MODULE.exists():
            raise BenchError("nginx has no stream module: apt-get install libnginx-mod-stream")

    def start(self) -> None:
        port = free_port()
        file = self.write(
            "nginx.conf",
            f"""load_module {self.MODULE};
daemon off;
master_process off;
error_log stderr error;
pid {self.directory}/nginx.pid;
events {{ worker_connections 64; }}
stream {{
    server {{
        listen {LOOPBACK}:{port} udp rcvbuf=16m;
        proxy_pass {LOOPBACK}:{self.place.ports[0]};
        proxy_timeout 1h;
    }}
}}
""",
        )
        self.run("-p", str(self.directory), "-e", "stderr", "-c", str(file))
        self.thread.wait_for_port(port)
        self.ingest = (LOOPBACK, port)
