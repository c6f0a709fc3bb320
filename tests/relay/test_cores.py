"""How many cores a process may keep busy, by the files of its control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay.cores import usable_cores

ALLOWED = len(os.sched_getaffinity(0))


def write(root: Path, **files: str) -> Path:
    """Files by their path, with __ for /."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_control_groups_it_is_the_affinity(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == ALLOWED


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", ALLOWED)]
)
def test_the_quota_of_a_container(tmp_path: Path, quota: str, cores: int) -> None:
    files = {"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu.max": f"{quota}\n"}
    assert usable_cores(write(tmp_path, **files)) == cores


@pytest.mark.parametrize("at", ["a__b__", "a__", ""])
def test_each_group_above_has_a_say(tmp_path: Path, at: str) -> None:
    files = {"proc__self__cgroup": "0::/a/b\n", f"sys__fs__cgroup__{at}cpu.max": "100000 100000\n"}
    assert usable_cores(write(tmp_path, **files)) == 1


def test_groups_of_version_1(tmp_path: Path) -> None:
    files = {
        "proc__self__cgroup": "12:memory:/x\n4:cpu,cpuacct:/x/y\n0::/x\n",
        "sys__fs__cgroup__cpu,cpuacct__cpu.cfs_quota_us": "100000\n",
        "sys__fs__cgroup__cpu,cpuacct__cpu.cfs_period_us": "100000\n",
    }
    assert usable_cores(write(tmp_path, **files)) == 1
    none = {"sys__fs__cgroup__cpu,cpuacct__cpu.cfs_quota_us": "-1"}
    assert usable_cores(write(tmp_path, **none)) == ALLOWED


@pytest.mark.parametrize("text", ["", "nonsense", "0::", "0::/../..", "a:b"])
def test_what_cannot_be_read_is_no_quota(tmp_path: Path, text: str) -> None:
    files = {"proc__self__cgroup": text, "sys__fs__cgroup__cpu.max": "0x1 ?\n"}
    assert usable_cores(write(tmp_path, **files)) == ALLOWED
