"""What spoils a figure is seen in a host's files, and told with what mends it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bench.support.network import SOCKET_BYTES
from bench.support.spoilers import CHECKS, Watch, cpu_list, engine_file, observe, warnings
from bench.support.threads import Cores

CORES = Cores(relay=3, others=frozenset({0, 1, 2}))
FINE: dict[str, Any] = {
    "governors": ["performance"],
    "has_turbo": False,
    "relay_core_siblings": [],
    "relay_has_own_core": True,
    "rmem_max": 4_000,
    "wmem_max": 5_000,
    "socket_buffer_bytes": SOCKET_BYTES,
    "has_gso": True,
    "has_gro": True,
    "slow_builds": [],
    "steal_share": 0.0,
    "other_load": 0.05,
    "network": "private namespace",
    "counts_softirq_thread": True,
}


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"{text}\n")


def test_nothing_is_said_of_a_good_host_or_of_what_is_not_known() -> None:
    assert warnings(FINE) == []
    assert warnings({}) == []


SPOILED: list[tuple[dict[str, Any], str, str]] = [
    ({"governors": ["performance", "powersave"]}, "powersave", "cpupower frequency-set"),
    ({"has_turbo": True}, "turbo", "intel_pstate/no_turbo"),
    ({"relay_core_siblings": [1]}, "hyper-thread beside 1", "smt/control"),
    ({"relay_has_own_core": False}, "one core for relay", "two cores"),
    ({"steal_share": 0.031}, "3.1 %", "cores of its own"),
    ({"other_load": 1.2}, "1.2 cores", "top"),
    (
        {"socket_buffer_bytes": 425_984},
        "425,984 bytes instead of 16,777,216 (rmem_max is 4,000, wmem_max is 5,000)",
        "sysctl -w net.core.rmem_max=16777216 net.core.wmem_max=16777216",
    ),
    ({"has_gso": False}, "no UDP_SEGMENT (GSO):", "Linux 5.0"),
    ({"has_gso": False, "has_gro": False}, "(GSO) and no UDP_GRO", "Linux 5.0"),
    ({"slow_builds": ["address sanitizer"]}, "address sanitizer", "OVERLANE_DEBUG"),
    ({"network": "host loopback"}, "network namespace", "CAP_SYS_ADMIN"),
    ({"counts_softirq_thread": False}, "ksoftirqd", "PID namespace"),
    ({"hypervisor": "QEMU"}, "virtual machine (QEMU)", "on the metal"),
]


@pytest.mark.parametrize(("changed", "told", "mend"), SPOILED)
def test_each_spoiler_is_told_alone_and_with_its_mend(
    changed: dict[str, Any], told: str, mend: str
) -> None:
    (text,) = warnings(FINE | changed)
    assert told in text
    assert mend in text


def test_all_checks_are_tested() -> None:
    everything = FINE | {
        name: value for changed, _, _ in SPOILED for name, value in changed.items()
    }
    assert len(warnings(everything)) == len(CHECKS) - 1


def test_a_spoiled_host_is_read(tmp_path: Path) -> None:
    cpus = "sys/devices/system/cpu"
    put(tmp_path, f"{cpus}/cpu0/cpufreq/scaling_governor", "performance")
    put(tmp_path, f"{cpus}/cpu3/cpufreq/scaling_governor", "powersave")
    put(tmp_path, f"{cpus}/intel_pstate/no_turbo", "0")
    put(tmp_path, f"{cpus}/cpu3/topology/thread_siblings_list", "1,3")
    put(tmp_path, "proc/cpuinfo", "processor: 0\nflags\t\t: fpu hypervisor avx2")
    put(tmp_path, "sys/class/dmi/id/sys_vendor", "QEMU")
    put(tmp_path, "proc/sys/net/core/rmem_max", "212992")
    put(tmp_path, "built.so", "...__asan_init...__gcov_init...")
    facts = observe(CORES, root=tmp_path, extension=tmp_path / "built.so")
    assert facts["governors"] == ["performance", "powersave"]
    assert facts["has_turbo"] is True
    assert facts["relay_core_siblings"] == [1]
    assert facts["hypervisor"] == "QEMU"
    assert facts["rmem_max"] == 212_992
    assert "wmem_max" not in facts
    assert facts["slow_builds"] == ["address sanitizer", "coverage of lines"]


def test_a_plain_host_is_read(tmp_path: Path) -> None:
    put(tmp_path, "sys/devices/system/cpu/cpufreq/boost", "0")
    put(tmp_path, "proc/cpuinfo", "flags\t\t: fpu avx2\nbugs: hypervisor")
    put(tmp_path, "built.so", "fast")
    facts = observe(Cores(None, frozenset({0})), root=tmp_path, extension=tmp_path / "built.so")
    assert facts["has_turbo"] is False
    assert facts["governors"] == []
    assert "hypervisor" not in facts
    assert "relay_core_siblings" not in facts
    assert facts["relay_has_own_core"] is False
    assert facts["slow_builds"] == []


def stat(together: str, *steal: str) -> str:
    """/proc/stat of a host, and what was stolen of each of its cores."""
    lines = [f"cpu{core} 0 0 0 0 0 0 0 {ticks} 0 0" for core, ticks in enumerate(steal)]
    return "\n".join([f"cpu  {together}", *lines, "intr 1 2 3"])


def test_what_others_took_is_watched(tmp_path: Path) -> None:
    """Between two readings 100 s of work and as much of steal, far more than time has passed."""
    put(tmp_path, "proc/stat", stat("1000 0 1000 50 0 0 0 0 0 0", "0", "0", "0"))
    watch = Watch({0, 1}, tmp_path)
    put(tmp_path, "proc/stat", stat("6000 0 6000 50 0 0 0 10000 0 0", "5000", "5000", "0"))
    found = warnings(watch.facts())
    assert len(found) == 2
    assert "steal" in found[0]
    assert "other processes" in found[1]


def test_what_was_stolen_of_cores_we_do_not_use_is_not_told(tmp_path: Path) -> None:
    put(tmp_path, "proc/stat", stat("0 0 0 0 0 0 0 0 0 0", "0", "0", "0"))
    watch = Watch({1, 2}, tmp_path)
    put(tmp_path, "proc/stat", stat("0 0 0 0 0 0 0 9000 0 0", "9000", "0", "0"))
    assert watch.facts()["steal_share"] == 0


def test_the_work_of_interrupts_is_not_taken_for_that_of_others(tmp_path: Path) -> None:
    put(tmp_path, "proc/stat", "cpu 0 0 0 0 0 0 0 0 0 0")
    watch = Watch({0, 1}, tmp_path)
    put(tmp_path, "proc/stat", "cpu 0 0 0 9000 9000 9000 9000 0 0 0")
    assert watch.facts() == {"steal_share": 0.0, "other_load": 0.0}


def process(root: Path, pid: int, name: str, parent: int, ticks: int) -> None:
    """With as much of user time, system time and of both of its children."""
    fields = f"S {parent} 1 1 0 -1 0 0 0 0 0 {ticks} {ticks} {ticks} {ticks} 20 0 1 0"
    put(root, f"proc/{pid}/stat", f"{pid} ({name}) {fields}")


def test_other_processes_are_seen_but_not_ours_nor_what_works_for_us(tmp_path: Path) -> None:
    put(tmp_path, "proc/stat", "cpu 0 0 0 0 0 0 0 0 0 0")
    for pid in (1, 2, 3, os.getpid()):
        process(tmp_path, pid, "idle", 0, 0)
    watch = Watch({0, 1}, tmp_path)
    process(tmp_path, 1, "ksoftirqd/1", 0, 5_000)
    process(tmp_path, 2, "a peer", os.getpid(), 5_000)
    process(tmp_path, os.getpid(), "bench", 0, 5_000)
    assert watch.facts()["other_load"] == 0
    process(tmp_path, 3, "a) b (c", 0, 5_000)
    assert "other processes" in warnings(watch.facts())[0]


def test_a_process_may_have_any_bytes_for_a_name(tmp_path: Path) -> None:
    """The kernel cuts a name after 15 bytes, be it within a letter."""
    put(tmp_path, "proc/stat", "cpu 0 0 0 0 0 0 0 0 0 0")
    process(tmp_path, 5, "x", 0, 0)
    file = tmp_path / "proc/5/stat"
    file.write_bytes(file.read_bytes().replace(b"(x)", b"(\xc3)"))
    assert Watch({0}, tmp_path).facts()["other_load"] == 0


def test_lists_of_cpus_are_read_as_the_kernel_writes_them() -> None:
    assert cpu_list("0-3,8") == {0, 1, 2, 3, 8}
    assert cpu_list("5") == {5}
    assert cpu_list("") == set()


def test_the_engines_own_extension_is_found() -> None:
    assert engine_file().suffix == ".so"
