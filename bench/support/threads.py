"""Who runs where, and the CPU time it takes.

The relay under test has the last core to itself; generator, sink and Python share the others.
A relay's time is that of its thread plus that of its core's ksoftirqd: on loopback the kernel
delivers a packet on the core that sent it, mostly within the send and, under load, in ksoftirqd.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.support.native import BenchError

IDLE_S = 0.3
IDLE_SHARE = 0.1  # of one core


@dataclass(frozen=True)
class Cores:
    """The relay's core and the others; None where there is only one for all."""

    relay: int | None
    others: frozenset[int]

    @property
    def all(self) -> frozenset[int]:
        return self.others if self.relay is None else self.others | {self.relay}

    @classmethod
    def allowed(cls) -> Cores:
        found = sorted(os.sched_getaffinity(0))
        if len(found) == 1:
            return cls(None, frozenset(found))
        return cls(found[-1], frozenset(found[:-1]))


class Tasks(Protocol):
    """Threads whose CPU time is measured."""

    def schedstats(self) -> list[Path]:
        """Of the threads there are now."""

    def check(self) -> None:
        """Raise BenchError if it has ended."""


class PinnedThread:
    """A thread on given cores that runs one native call until `stop` makes it return."""

    def __init__(
        self, name: str, run: Callable[[], object], stop: Callable[[], None], cores: set[int]
    ) -> None:
        self._run, self._stop, self._cores = run, stop, cores
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def native_id(self) -> int:
        assert self._thread.native_id is not None
        return self._thread.native_id

    def schedstats(self) -> list[Path]:
        return [Path(f"/proc/self/task/{self.native_id}/schedstat")]

    def check(self) -> None:
        """Raise what ended it."""
        if self._failure is not None:
            raise BenchError(f"{self._thread.name} ended: {self._failure}") from self._failure

    def close(self) -> None:
        self._stop()
        self._thread.join()

    def _main(self) -> None:
        os.sched_setaffinity(0, self._cores)
        self._ready.set()
        try:
            self._run()
        except BaseException as failure:  # noqa: BLE001  # told by check(), in the main thread
            self._failure = failure


@dataclass(frozen=True)
class CpuTime:
    """Microseconds: on a CPU, and waiting for one although there was work."""

    busy_us: float
    waited_us: float

    def __sub__(self, earlier: CpuTime) -> CpuTime:
        return CpuTime(self.busy_us - earlier.busy_us, self.waited_us - earlier.waited_us)


def _schedstat(path: Path) -> CpuTime:
    busy_ns, waited_ns, _ = path.read_text().split()
    return CpuTime(int(busy_ns) / 1000, int(waited_ns) / 1000)


def _softirq_thread(core: int) -> Path | None:
    """schedstat of the core's ksoftirqd, if this process may see it."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if (process / "comm").read_text(errors="replace").strip() == f"ksoftirqd/{core}":
                    return process / "schedstat"
            except OSError:
                continue  # it ended while we looked
    return None


class RelayClock:
    """CPU time of a relay's threads and, where it has its own core, of that core's ksoftirqd."""

    def __init__(self, tasks: Tasks, core: int | None) -> None:
        self._tasks = tasks
        self._softirq = None if core is None else _softirq_thread(core)

    @property
    def counts_softirq_thread(self) -> bool:
        return self._softirq is not None

    def read(self) -> CpuTime:
        """Waiting for its own ksoftirqd is no waiting: that is the relay's work too."""
        threads = [_schedstat(path) for path in self._tasks.schedstats()]
        busy_us = sum(one.busy_us for one in threads)
        waited_us = sum(one.waited_us for one in threads)
        if self._softirq is None:
            return CpuTime(busy_us, waited_us)
        softirq = _schedstat(self._softirq)
        return CpuTime(busy_us + softirq.busy_us, waited_us - softirq.busy_us)


def _busy_ticks() -> int:
    """Of all cores together, in clock ticks."""
    user, nice, system, _, _, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal)))


def wait_until_idle(until_s: float) -> None:
    """Until other processes leave the cores nearly idle for IDLE_S; at most to this time."""
    while time.monotonic() < until_s:
        start_s, start = time.monotonic(), _busy_ticks()
        time.sleep(IDLE_S)
        busy_s = (_busy_ticks() - start) / os.sysconf("SC_CLK_TCK")
        if busy_s <= IDLE_SHARE * (time.monotonic() - start_s):
            return


class EndsClock:
    """Of the sink's thread and this one, which generates: waiting, but not for each other."""

    def __init__(self, sink: PinnedThread) -> None:
        (self._sink,) = sink.schedstats()
        self._generator = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")

    def read(self) -> CpuTime:
        sink, generator = _schedstat(self._sink), _schedstat(self._generator)
        waited_us = max(sink.waited_us - generator.busy_us, generator.waited_us - sink.busy_us)
        return CpuTime(sink.busy_us + generator.busy_us, waited_us)
