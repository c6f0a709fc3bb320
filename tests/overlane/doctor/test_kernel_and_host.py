"""Clock, kernel and resources: on this host, and on files that say what another host would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from overlane.doctor.check import Check, Host, Verdict
from overlane.doctor.clock import (
    Reading,
    check_clock,
    check_source,
    judge_rate,
    judge_synchronised,
)
from overlane.doctor.kernel import check_kernel, check_udp_errors
from overlane.doctor.resources import Needs, check_memory, check_resources

SECOND_NS = 1_000_000_000
NAMES = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors"


def host(directory: Path, **files: str) -> Host:
    """Keys as "proc__net__snmp"."""
    for name, text in files.items():
        path = directory.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Host(directory / "proc", directory / "sys")


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.what: check for check in checks}


def test_this_hosts_kernel_is_really_tried() -> None:
    checks = by_name(check_kernel(Host(), use_gso=True, use_gro=True))

    assert checks["epoll_pwait2"].verdict is Verdict.OK
    assert checks["UDP_SEGMENT (GSO)"].found == "one call sent 4 packets"
    assert checks["UDP_GRO"].verdict is Verdict.OK
    assert "came with it" in checks["SO_TIMESTAMPNS"].found
    assert all(check.mend for check in checks.values() if check.verdict is not Verdict.OK)


def test_what_the_configuration_switches_off_is_not_tried() -> None:
    checks = by_name(check_kernel(Host(), use_gso=False, use_gro=False))
    assert checks["UDP_SEGMENT (GSO)"].found == "not used: kernel.use_gso is false"
    assert checks["UDP_GRO"].found == "not used: kernel.use_gro is false"


def test_losses_of_full_buffers_are_judged_by_their_share(tmp_path: Path) -> None:
    few = f"{NAMES}\nUdp: 1000000 5 3 900 2 0\n"
    many = f"{NAMES}\nUdp: 1000000 5 900 900 800 0\n"
    check = check_udp_errors(host(tmp_path / "few", proc__net__snmp=few))
    assert check.found == "2 lost to full buffers, 1 otherwise, 1000000 received"
    assert check.verdict is Verdict.OK
    check = check_udp_errors(host(tmp_path / "many", proc__net__snmp=many))
    assert check.verdict is Verdict.WARNING
    six = "Udp6InDatagrams \t10\nUdp6InErrors 7\nUdp6RcvbufErrors  7\nIp6InReceives 9\n"
    check = check_udp_errors(host(tmp_path / "six", proc__net__snmp=few, proc__net__snmp6=six))
    assert check.found == "9 lost to full buffers, 1 otherwise, 1000010 received"


def test_a_kernel_that_tells_nothing_is_no_problem(tmp_path: Path) -> None:
    nothing = host(tmp_path)
    assert check_udp_errors(nothing).verdict is Verdict.OK
    assert check_source(nothing).found == "not told by this kernel"
    assert check_memory(nothing, 1, is_running=False).verdict is Verdict.OK


# -- clock


def test_this_hosts_clock_is_looked_at() -> None:
    assert [check.what for check in check_clock(Host())] == ["rate", "synchronised", "clock source"]


RATES = [
    (SECOND_NS, SECOND_NS, SECOND_NS, Verdict.OK, "slewed by +0 ppm"),
    (SECOND_NS, SECOND_NS + 1_500_000, SECOND_NS, Verdict.OK, "agree"),
    (SECOND_NS, SECOND_NS + 2_500_000, SECOND_NS, Verdict.WARNING, "was set by +2.5 ms"),
    (SECOND_NS, SECOND_NS - 10_000_000, SECOND_NS, Verdict.WARNING, "was set by -10.0 ms"),
    (SECOND_NS, SECOND_NS, SECOND_NS - 600_000, Verdict.WARNING, "slews the clock by +600 ppm"),
    (SECOND_NS, SECOND_NS, SECOND_NS + 400_000, Verdict.OK, "slewed by -400 ppm"),
]


@pytest.mark.parametrize(("monotonic", "realtime", "raw", "verdict", "text"), RATES)
def test_clocks_that_go_apart(
    monotonic: int, realtime: int, raw: int, verdict: Verdict, text: str
) -> None:
    check = judge_rate(Reading(5, 10**18, 7), Reading(5 + monotonic, 10**18 + realtime, 7 + raw))
    assert (check.verdict, text in check.found) == (verdict, True), check


def test_a_clock_that_nobody_keeps() -> None:
    assert judge_synchronised(True, 20_000).verdict is Verdict.OK
    assert "nobody keeps" in judge_synchronised(False, 16_000_000).found
    assert judge_synchronised(True, 200_000).verdict is Verdict.WARNING


def test_a_slow_clock_source_names_a_better_one(tmp_path: Path) -> None:
    directory = "sys__devices__system__clocksource__clocksource0__"
    files = {f"{directory}current_clocksource": "hpet\n",
             f"{directory}available_clocksource": "hpet tsc acpi_pm\n"}  # fmt: skip
    check = check_source(host(tmp_path, **files))
    assert (check.verdict, check.mend) == (Verdict.WARNING, "boot with clocksource=tsc")


# -- resources


def test_memory_is_the_least_of_system_and_control_group(tmp_path: Path) -> None:
    files = {"proc__meminfo": "MemTotal: 9 kB\nMemAvailable:    2097152 kB\n"}
    free = host(tmp_path / "free", **files)
    assert check_memory(free, 1 << 30, is_running=False).verdict is Verdict.OK
    assert check_memory(free, 3 << 30, is_running=False).verdict is Verdict.PROBLEM
    assert check_memory(free, 3 << 30, is_running=True).verdict is Verdict.OK
    files |= {"sys__fs__cgroup__memory.max": "1073741824\n",
              "sys__fs__cgroup__memory.current": "1000000000\n"}  # fmt: skip
    limited = check_memory(host(tmp_path / "limited", **files), 1 << 30, is_running=False)
    assert limited.verdict is Verdict.PROBLEM
    assert "70.3 MiB available" in limited.found
    unlimited = {**files, "sys__fs__cgroup__memory.max": "max\n"}
    assert check_memory(host(tmp_path / "max", **unlimited), 1 << 30, False).verdict is Verdict.OK


def test_files_and_cores(tmp_path: Path) -> None:
    quota = host(tmp_path, **{"sys__fs__cgroup__cpu.max": "50000 100000\n"})
    checks = by_name(check_resources(quota, Needs(files=1 << 40), is_running=False))
    assert checks["cores"].found == "0.5 by the control group's cpu.max"
    assert checks["open files"].verdict is Verdict.PROBLEM
    assert "LimitNOFILE=" in checks["open files"].mend


def test_cores_for_workers_that_are_not_there(tmp_path: Path) -> None:
    here = min(os.sched_getaffinity(0))
    checks = by_name(check_resources(host(tmp_path), Needs(worker_cpus=(here,)), is_running=False))
    assert checks["worker_cpus"].verdict is Verdict.OK
    needs = Needs(worker_cpus=(here, 65_535))
    (check,) = (c for c in check_resources(host(tmp_path), needs, False) if c.what == "worker_cpus")
    assert check.verdict is Verdict.PROBLEM
    assert check.found.startswith("65535 not among")
