"""Whether this host has room for what the configuration allocates: files, memory, cores."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass

from overlane.doctor.check import Check, Host, ok, problem, size_text, warning


@dataclass(frozen=True, slots=True)
class Needs:
    """What a process takes when it is full. memory_bytes: None: not known before. worker_cpus: the
    cores that its threads are to be bound to."""

    files: int = 64
    cores: int = 2  # a node's engine has a thread beside the event loop's
    memory_bytes: int | None = None
    worker_cpus: tuple[int, ...] = ()


def check_resources(host: Host, needs: Needs, is_running: bool) -> list[Check]:
    """is_running: it has its memory already."""
    checks = [_check_files(needs), _check_cores(host, needs)]
    if needs.worker_cpus:
        checks.append(_check_worker_cpus(needs))
    if needs.memory_bytes is not None:
        checks.append(check_memory(host, needs.memory_bytes, is_running))
    return checks


def _check_files(needs: Needs) -> Check:
    what = "open files"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needs.files:
        mend = f"ulimit -n {needs.files}, or LimitNOFILE={needs.files} in the service's unit"
        return problem(what, f"{soft} allowed (at most {hard}), {needs.files} needed", mend)
    return ok(what, f"{'any number' if soft < 0 else soft} allowed, {needs.files} needed")


def check_memory(host: Host, needed_bytes: int, is_running: bool) -> Check:
    """Compared with what can still be had."""
    what = "memory"
    available_bytes = _available_bytes(host)
    needed = f"{size_text(needed_bytes)} when all of [limits] is used"
    if is_running:
        return ok(what, f"{needed}; the running node has its share")
    if available_bytes is None:
        return ok(what, f"{needed}; this kernel does not tell what is available")
    found = f"{needed}, {size_text(available_bytes)} available"
    if available_bytes < needed_bytes:
        return problem(what, found, "lower limits.slab_mib, node_links or viewers, or add memory")
    return ok(what, found)


def _available_bytes(host: Host) -> int | None:
    """The least that the system and the control group leave."""
    found = []
    for line in (host.read("proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) << 10)
    limit = host.number("sys/fs/cgroup/memory.max")
    used = host.number("sys/fs/cgroup/memory.current")
    if limit is not None and used is not None:
        found.append(max(limit - used, 0))
    return min(found, default=None)


def _check_cores(host: Host, needs: Needs) -> Check:
    what = "cores"
    cores = float(len(os.sched_getaffinity(0)))
    words = (host.read("sys/fs/cgroup/cpu.max") or "").split()
    source = "for this process"
    if len(words) == 2 and words[0].isdecimal():
        quota = int(words[0]) / int(words[1])
        if quota < cores:
            cores, source = quota, "by the control group's cpu.max"
    found = f"{cores:g} {source}"
    if cores < needs.cores:
        mend = f"give it {needs.cores}: its threads stall whenever something else runs"
        return warning(what, found, mend)
    return ok(what, found)


def _check_worker_cpus(needs: Needs) -> Check:
    """Those that are not there, or not for this process, are passed over by a node."""
    what = "worker_cpus"
    allowed = os.sched_getaffinity(0)
    missing = [cpu for cpu in needs.worker_cpus if cpu not in allowed]
    if missing:
        found = f"{_numbers(missing)} not among the cores of this process: {_numbers(allowed)}"
        return problem(what, found, "name others, or none: then the system places the workers")
    return ok(what, f"{_numbers(needs.worker_cpus)}, all of them for this process")


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(values)))
