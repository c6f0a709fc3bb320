"""Scenarios with real processes: what happens to them, what the report says, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import processes_with

pytestmark = pytest.mark.integration

TRIANGLE = """
[[nodes]]
name = "a"
[[nodes]]
name = "b"
[[nodes]]
name = "c"
[[links]]
a = "a"
b = "b"
delay_ms = 10
[[links]]
a = "b"
b = "c"
delay_ms = 10
[[links]]
a = "a"
b = "c"
delay_ms = 40
[[broadcasts]]
name = "live"
node = "a"
start_s = 0.0
"""
WITHOUT_BRAIN = """
name = "static"
duration_s = 6.0
[[paths]]
node = "c"
stream = "live"
via = ["b", "a"]
[[paths]]
node = "b"
stream = "live"
via = ["a"]
[[viewers]]
name = "near"
stream = "live"
node = "b"
join_s = 1.0
leave_s = 5.0
[[access]]
viewers = "near"
delay_ms = 30
rate_trace = [[0, 8_000_000], [4, 6_000_000]]
[[access]]
broadcast = "live"
delay_ms = 15
[[events]]
at_s = 3.0
do = "move_viewer"
viewer = "near"
to = "c"
[[events]]
at_s = 4.0
do = "link"
a = "a"
b = "b"
loss = 0.02
[[events]]
at_s = 4.5
do = "access"
viewers = "near"
delay_ms = 50
[expect]
"viewers.near.frames_expected" = "> 1000000"
"viewers.near.longest_gap_ms" = "< 5000"
"""
BEHIND_A_LOSSY_PATH = """
name = "lossy"
duration_s = 7.0
[[nodes]]
name = "a"
[[broadcasts]]
name = "live"
node = "a"
start_s = 0.0
[[viewers]]
name = "far"
stream = "live"
node = "a"
join_s = 1.0
feedback = ["reports", "nack", "transport_cc"]
[[access]]
viewers = "far"
delay_ms = 20
loss = 0.03
back = { loss = 0 }
[expect]
# Nothing shows that the very first or last packet was lost.
"viewers.far.frames_damaged" = "<= 2"
"viewers.far.frames_missing" = "<= 1"
"viewers.far.packets_duplicate" = "== 0"
"viewers.far.rtx_repaired" = ">= 10"
"""
SWITCHES = """
name = "switches"
duration_s = 13.0
[[nodes]]
name = "a"
[[broadcasts]]
name = "one"
node = "a"
start_s = 0.0
versions = [1_500_000, 300_000]
[[broadcasts]]
name = "two"
node = "a"
start_s = 0.3
bitrate_bps = 500_000
[[viewers]]
name = "hops"
stream = "one"
node = "a"
join_s = 2.0
decode = true
[[viewers]]
name = "slow"
stream = "one"
node = "a"
join_s = 2.0
decode = true
feedback = ["reports", "nack", "transport_cc"]
[[access]]
viewers = "slow"
rate_trace = [[0, 4_000_000], [4, 700_000]]
[[events]]
at_s = 6.0
do = "switch_viewer"
viewer = "hops"
to = "two"
[expect]
"viewers.*.frames_undecodable" = "== 0"
"viewers.hops.intact_ratio" = ">= 0.97"
"viewers.hops.stream_changes" = "== 1"
"viewers.slow.version_changes" = "== 1"
"""
WITH_BRAIN = """
name = "brain-comes-and-goes"
duration_s = 12.0
[brain]
report_s = 1
[[viewers]]
name = "far"
stream = "live"
node = "c"
join_s = 2.0
[[viewers]]
name = "meanwhile"
stream = "live"
node = "c"
join_s = 5.5
[[events]]
at_s = 4.0
do = "kill_brain"
[[events]]
at_s = 7.0
do = "start_brain"
[[events]]
at_s = 9.5
do = "cut"
a = "b"
b = "c"
[expect]
"viewers.*.frames_missing" = "== 0"
"viewers.*.frames_damaged" = "== 0"
"brain.starts" = "== 2"
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "scenario.toml"
    head, _, tables = text.lstrip().partition("[")
    path.write_text(f"{head}{TRIANGLE}[{tables}")
    return path


def command(path: Path, *more: str) -> list[str]:
    out = str(path.parent / "out")
    return [sys.executable, "-m", "overlane", "lab", str(path), "--out", out, *more]


def run(path: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        command(path, "--json", *more), capture_output=True, text=True, timeout=110, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_what_the_file_says_happens_and_a_failed_expectation_is_told(tmp_path: Path) -> None:
    status, report, told = run(write(tmp_path, WITHOUT_BRAIN))

    assert status == 1
    assert [(each["name"], each["held"]) for each in report["expectations"]] == [
        ("viewers.near.frames_expected", False),
        ("viewers.near.longest_gap_ms", True),
    ]
    (near,) = report["viewers"]
    assert (near["node"], near["path"]) == ("c", ["a", "b", "c"])
    assert near["joined_s"] >= 0.99
    assert near["left_s"] >= 4.99
    assert near["joined_s"] < near["left_s"]
    assert near["frames_intact"] > 20
    assert [each["what"] for each in report["events"]] == [
        "near moves to c",
        "link a - b: loss 2.0%",
        "access of near: delay 50 ms",
    ]
    assert near["least_delay_ms"] >= 15 + 10 + 30
    hops = {(hop["sender"], hop["receiver"]): hop for hop in report["hops"]}
    assert hops["a", "b"]["lost"] > 0
    assert hops["b", "c"]["lost"] == 0
    assert hops["a", "c"]["delay_ms"] == 40
    assert "near moves to c" in told
    assert processes_with(str(tmp_path)) == []


def test_no_frame_is_lost_while_the_brain_is_away_nor_when_the_path_is_cut(tmp_path: Path) -> None:
    status, report, _ = run(write(tmp_path, WITH_BRAIN))

    far, meanwhile = report["viewers"]
    assert status == 0, report["expectations"]
    assert far["frames_expected"] > 200
    assert meanwhile["frames_expected"] > 100
    assert far["path"] == ["a", "c"]
    gone, _, cut = report["events"]
    assert (gone["what"], gone["switches"]) == ("kill brain", [])
    assert cut["what"] == "cut b - c"
    assert any(each.startswith("c: b -> a") for each in cut["switches"])
    assert report["brain"]["term"] > 1


def test_what_an_access_path_loses_comes_again_as_rtx(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(BEHIND_A_LOSSY_PATH)
    status, report, _ = run(path)

    assert status == 0, report["expectations"]
    (far,) = report["viewers"]
    assert far["frames_expected"] > 150
    assert far["rtx_repaired"] <= far["rtx_packets"]  # which fill probes, too


def test_viewers_switch_unseen_to_another_broadcast_and_another_bitrate(tmp_path: Path) -> None:
    """A decoder finds nothing wrong."""
    path = tmp_path / "scenario.toml"
    path.write_text(SWITCHES)
    status, report, _ = run(path)

    assert status == 0, report["expectations"]
    hops, slow = report["viewers"]
    assert [change["stream"] for change in hops["stream_changes"]] == ["two"]
    assert hops["stream"] == "two"
    assert [change["version"] for change in slow["version_changes"]] == [1]
    assert all(frames > 20 for frames in slow["version_frames"])


def test_a_bad_file_is_told_line_by_line(tmp_path: Path) -> None:
    path = write(tmp_path, WITHOUT_BRAIN.replace('viewer = "near"', 'viewer = "nobody"'))
    done = subprocess.run(command(path), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "events[0].viewer" in done.stderr
    assert f"{path}:" in done.stderr


def test_what_only_virtual_time_can_do_is_refused_at_once(tmp_path: Path) -> None:
    flow = '[[flows]]\nname = "download"\nkind = "tcp"\na = "a"\nb = "b"\n[[events]]'
    text = WITHOUT_BRAIN.replace("[[events]]", flow, 1)
    text = text.replace("leave_s = 5.0", "leave_s = 5.0\nbeyond_ms = 10")
    path = write(tmp_path, text)
    done = subprocess.run(command(path), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "for virtual time only: beyond_ms of viewers; flows" in done.stderr


def test_a_signal_ends_everything(tmp_path: Path) -> None:
    path = write(tmp_path, WITHOUT_BRAIN)
    lab = subprocess.Popen(command(path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while len(processes_with(str(tmp_path))) < 1 + 3 and time.monotonic() < deadline:
            time.sleep(0.1)  # the lab and its nodes; encoder and viewers come and go
        os.kill(lab.pid, signal.SIGTERM)
        assert lab.wait(60) == 128 + signal.SIGTERM
    finally:
        lab.kill()
        lab.communicate()
    assert processes_with(str(tmp_path)) == []
