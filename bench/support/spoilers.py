"""What would spoil a figure: read from the host, and told with what mends it.

`observe` and `Watch` read facts, which stand in the report's environment; `warnings` makes
sentences of them. A fact that could not be read is left out, and nothing is said of it.
"""

from __future__ import annotations

import importlib
import os
import re
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.support.network import SOCKET_BYTES, SOL_UDP, UDP_GRO
from bench.support.threads import Cores

STEAL = 7  # of a line of /proc/stat, counted from user
UDP_SEGMENT = 103  # linux/udp.h
ROOT = Path("/")
CPUS = "sys/devices/system/cpu"
MAX_STEAL_SHARE = 0.005  # chosen: of the time; it comes in bursts that fail a trial
MAX_OTHER_LOAD = 0.1  # chosen: of one core, as an idle host's daemons need
# What the compiler leaves in an extension that is not built for speed.
SLOW_BUILDS = {
    "address sanitizer": b"__asan_init",
    "undefined-behaviour sanitizer": b"__ubsan_handle",
    "thread sanitizer": b"__tsan_init",
    "coverage of lines": b"__gcov_init",
    "coverage of blocks": b"__sanitizer_cov_trace_pc",
}


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()  # a process's name may be any bytes
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.isdigit() else None


def cpu_list(text: str) -> set[int]:
    """The numbers of a list as the kernel writes it: 0-3,8."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _governors(root: Path) -> list[str]:
    files = (root / CPUS).glob("cpu[0-9]*/cpufreq/scaling_governor")
    return sorted(set(filter(None, map(_text, files))))


def _has_turbo(root: Path) -> bool | None:
    no_turbo = _number(root / CPUS / "intel_pstate" / "no_turbo")
    if no_turbo is not None:
        return no_turbo == 0
    boost = _number(root / CPUS / "cpufreq" / "boost")
    return None if boost is None else boost == 1


def _siblings(root: Path, cores: Cores) -> list[int] | None:
    """The other hardware threads of the relay's core that generator and sink may use."""
    if cores.relay is None:
        return None
    text = _text(root / CPUS / f"cpu{cores.relay}" / "topology" / "thread_siblings_list")
    return None if text is None else sorted(cpu_list(text) & cores.others)


def _hypervisor(root: Path) -> str | None:
    """A name for it; None: this is no virtual machine, as far as one can see."""
    named = _text(root / "sys/hypervisor/type")
    if named:
        return named
    cpus = _text(root / "proc/cpuinfo") or ""
    if re.search(r"^flags\s*:.*\bhypervisor\b", cpus, re.MULTILINE) is None:
        return None
    return _text(root / "sys/class/dmi/id/sys_vendor") or "unnamed"


def _accepts(option: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.setsockopt(SOL_UDP, option, 1)
        except OSError:
            return False
    return True


def slow_builds(extension: Path) -> list[str]:
    """What an extension was built with that makes it slow."""
    built = extension.read_bytes()
    return [name for name, mark in SLOW_BUILDS.items() if mark in built]


def engine_file() -> Path:
    """The engine's own extension."""
    found = importlib.import_module("fastpath.engine").__file__
    assert found is not None
    return Path(found)


def observe(cores: Cores, *, root: Path = ROOT, extension: Path | None = None) -> dict[str, object]:
    """Facts that stay as they are during a run. Of the network, only what a host has."""
    facts: dict[str, object | None] = {
        "governors": _governors(root),
        "has_turbo": _has_turbo(root),
        "relay_core_siblings": _siblings(root, cores),
        "relay_has_own_core": cores.relay is not None,
        "hypervisor": _hypervisor(root),
        "rmem_max": _number(root / "proc/sys/net/core/rmem_max"),
        "wmem_max": _number(root / "proc/sys/net/core/wmem_max"),
        "has_gso": _accepts(UDP_SEGMENT),
        "has_gro": _accepts(UDP_GRO),
        "slow_builds": slow_builds(extension or engine_file()),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _others_s(root: Path) -> float:
    """CPU time of the processes that are not ours, with that of the children they have waited for,
    in s. ksoftirqd's is left out: it works for our packets."""
    ticks = 0
    for file in (root / "proc").glob("[0-9]*/stat"):
        text = _text(file)
        if text is None:
            continue  # it ended while we looked
        head, _, rest = text.rpartition(")")
        parent, times = rest.split()[1], rest.split()[11:15]  # proc(5): fields 4 and 14 to 17
        is_ours = str(os.getpid()) in (parent, file.parent.name)
        if not is_ours and "(ksoftirqd/" not in head:
            ticks += sum(map(int, times))
    return ticks / os.sysconf("SC_CLK_TCK")


def _core_times_s(root: Path) -> dict[str, list[float]]:
    """In s, of all cores together ("cpu") and of each ("cpu0", ...): proc(5), /proc/stat."""
    lines = (root / "proc/stat").read_text().splitlines()
    return {
        fields[0]: [int(field) / os.sysconf("SC_CLK_TCK") for field in fields[1:]]
        for fields in (line.split() for line in lines)
        if fields and fields[0].startswith("cpu")
    }


@dataclass(frozen=True)
class _Times:
    """In s, since the start of the host."""

    at_s: float
    working_s: float  # of all cores in processes, so without what interrupts cost
    steal_s: float  # of the cores looked at
    ours_s: float
    others_s: float

    @classmethod
    def now(cls, root: Path, cores: Collection[int]) -> _Times:
        times_s = _core_times_s(root)
        user, nice, system, *_ = times_s["cpu"]
        steal = sum(times_s[name][STEAL] for core in cores if (name := f"cpu{core}") in times_s)
        own = os.times()
        ours_s = own.user + own.system + own.children_user + own.children_system
        return cls(time.monotonic(), user + nice + system, steal, ours_s, _others_s(root))


class Watch:
    """From its making on: what others took from these cores."""

    def __init__(self, cores: Collection[int], root: Path = ROOT) -> None:
        self._cores, self._root = cores, root
        self._start = _Times.now(root, cores)

    def facts(self) -> dict[str, object]:
        """steal_share: of these cores' time. other_load: cores that other processes used.

        The latter in two ways, both of which miss some: a container does not see the host's
        processes, and a kernel that does not account for interrupts apart has them in our time.
        """
        start, now = self._start, _Times.now(self._root, self._cores)
        seconds = max(now.at_s - start.at_s, 1e-3)
        seen_s = now.others_s - start.others_s
        left_s = now.working_s - start.working_s - (now.ours_s - start.ours_s)
        return {
            "steal_share": round((now.steal_s - start.steal_s) / seconds / len(self._cores), 4),
            "other_load": round(max(seen_s, left_s, 0) / seconds, 2),
        }


def warnings(environment: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that would spoil a figure, with its mend where there is one."""
    told = []
    for check in CHECKS:
        text = check(environment)
        if text:
            told.append(text)
    return told


def _slow_build(facts: Mapping[str, Any]) -> str | None:
    builds = facts.get("slow_builds")
    if not builds:
        return None
    return (
        f"the engine is built with {', '.join(builds)}: no figure holds; "
        "build it again without OVERLANE_DEBUG, OVERLANE_TSAN and OVERLANE_COVERAGE"
    )


def _one_core(facts: Mapping[str, Any]) -> str | None:
    if facts.get("relay_has_own_core", True):
        return None
    return (
        "one core for relay, generator and sink: they wait for each other, and rates and delays "
        "are not the relay's; allow two cores or more (taskset, the container's or machine's CPUs)"
    )


def _shared_core(facts: Mapping[str, Any]) -> str | None:
    siblings = facts.get("relay_core_siblings")
    if not siblings:
        return None
    names = ", ".join(map(str, siblings))
    return (
        f"the relay's core is a hyper-thread beside {names}, where generator and sink run: it has "
        "half a core; echo off > /sys/devices/system/cpu/smt/control, or leave these out by taskset"
    )


def _governor(facts: Mapping[str, Any]) -> str | None:
    others = [name for name in facts.get("governors", []) if name != "performance"]
    if not others:
        return None
    return (
        f"the CPU frequency governor is {', '.join(others)}: speed follows the load; "
        "cpupower frequency-set -g performance"
    )


def _turbo(facts: Mapping[str, Any]) -> str | None:
    if not facts.get("has_turbo"):
        return None
    return (
        "the CPU may raise its frequency (turbo, boost) as long as it stays cool: short runs look "
        "faster than long ones; echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo, or "
        "echo 0 > /sys/devices/system/cpu/cpufreq/boost"
    )


def _steal(facts: Mapping[str, Any]) -> str | None:
    share = facts.get("steal_share", 0)
    if share <= MAX_STEAL_SHARE:
        return None
    return (
        f"the hypervisor gave {100 * share:.1f} % of the cores' time to others (steal): "
        "measure on a host or a machine with cores of its own"
    )


def _other_load(facts: Mapping[str, Any]) -> str | None:
    load = facts.get("other_load", 0)
    if load <= MAX_OTHER_LOAD:
        return None
    return f"other processes used {load:.1f} cores meanwhile: stop them (top shows them)"


def _buffers(facts: Mapping[str, Any]) -> str | None:
    given = facts.get("socket_buffer_bytes", SOCKET_BYTES)
    if given >= SOCKET_BYTES:
        return None
    limits = " ".join(f"net.core.{name}={SOCKET_BYTES}" for name in ("rmem_max", "wmem_max"))
    now = ", ".join(
        f"{name} is {facts[name]:,}" for name in ("rmem_max", "wmem_max") if name in facts
    )
    return (
        f"sockets have buffers of {given:,} bytes instead of {SOCKET_BYTES:,}"
        f"{f' ({now})' if now else ''}: a short wait loses packets; "
        f"sysctl -w {limits}, or run as root"
    )


def _segments(facts: Mapping[str, Any]) -> str | None:
    missing = [
        name for name, fact in (("UDP_SEGMENT (GSO)", "has_gso"), ("UDP_GRO", "has_gro"))
        if not facts.get(fact, True)
    ]  # fmt: skip
    if not missing:
        return None
    return (
        f"the kernel has no {' and no '.join(missing)}: each packet takes a way through the kernel "
        "of its own; use Linux 5.0 or later"
    )


def _network(facts: Mapping[str, Any]) -> str | None:
    if facts.get("network", "private namespace") == "private namespace":
        return None
    return (
        "not permitted to make a network namespace: firewall rules and traffic of this host take "
        "part; run as root, or with CAP_SYS_ADMIN"
    )


def _softirq(facts: Mapping[str, Any]) -> str | None:
    if facts.get("counts_softirq_thread", True) or not facts.get("relay_has_own_core", True):
        return None  # on a shared core its time would not be the relay's
    return (
        "ksoftirqd's CPU time cannot be read: what the kernel delivers there is missing, and CPU "
        "per packet is too low under load; run outside of a container's PID namespace"
    )


def _virtual(facts: Mapping[str, Any]) -> str | None:
    name = facts.get("hypervisor")
    if not name:
        return None
    return (
        f"this is a virtual machine ({name}): a wake-up costs more here, and neighbours may take "
        "time; measure on the metal if the node will run there"
    )


CHECKS = (
    _slow_build,
    _one_core,
    _shared_core,
    _governor,
    _turbo,
    _steal,
    _other_load,
    _buffers,
    _segments,
    _network,
    _softirq,
    _virtual,
)
# True of every run, so it is said once and is no warning.
LOOPBACK_NOTE = (
    "Traffic goes over loopback: no network card takes part. Packets come in joined as they were "
    "sent, a frame at a time. Those to GRO receivers leave joined, too, which is a ceiling; those "
    "to plain receivers are nearer to what a card does."
)
