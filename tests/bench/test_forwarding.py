"""The forwarding measurement end to end: tiny runs say the truth in valid JSON. No speeds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TRIAL_S, RATE_PPS, FANOUT = 0.1, 3_000, 3
BURST_PACKETS = 16
# Whole bursts in two trial lengths, which is what a given rate takes.
PACKETS_OUT = round(RATE_PPS / FANOUT * 2 * TRIAL_S / BURST_PACKETS) * BURST_PACKETS * FANOUT

pytestmark = pytest.mark.integration


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "bench/forwarding.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def tiny(*more: str) -> dict[str, Any]:
    done = run("--quick", "--trial-s", str(TRIAL_S), "--payload-bytes", "200", *more)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("receiver", ["plain", "gro"])
@pytest.mark.parametrize("kind", ["node", "edge"])
def test_a_tiny_run_counts_every_packet(kind: str, receiver: str) -> None:
    relays = ["engine", "loop", "loop_plus"]
    report = tiny(
        *("--case", kind, "--receiver", receiver),
        *("--fanout", str(FANOUT), "--rate-pps", str(RATE_PPS)),
    )
    assert set(report) == {"question", "environment", "method", "warnings", "cases"}
    assert report["method"]["burst_packets"] == BURST_PACKETS
    (case,) = report["cases"]
    assert (case["fanout"], case["payload_bytes"], case["receiver"]) == (FANOUT, 200, receiver)
    assert (case["kind"], case["relays"], case["rate"]) == (kind, relays, RATE_PPS)
    for relay in relays:
        found = case[relay]
        assert found["packets_out"] == PACKETS_OUT
        assert found["loss"] == 0
        assert found["cpu_us_per_packet_out"] > 0
        assert found["delay_us"]["given"]["samples"] == PACKETS_OUT  # so few that all are read
        assert found["delay_us"]["given"]["p999"] is None  # and too few to tell
        # A frame's packets leave together; more than a frame only where the relay was held up.
        histogram = found["batches"]["histogram"]
        assert histogram["9-16"] + histogram["17-32"] + histogram["33-64"] > 0
    assert case["ratio_to_loop"] > 0
    assert case["ratio_to_loop_plus"] > 0
    assert (case["other_datagrams"] > 0) == (kind == "node")  # the engine's probes, not counted


def test_many_streams_each_reach_one_link_of_several() -> None:
    report = tiny(
        *("--case", "frames", "--receiver", "gro"),
        *("--streams", "40", "--links", "4", "--rate-pps", "4000"),
    )
    (case,) = report["cases"]
    assert (case["streams"], case["links"], case["pacing"]) == (40, 4, "frames")
    packets = {relay: case[relay]["packets_out"] for relay in case["relays"]}
    assert len(set(packets.values())) == 1, packets
    assert all(case[relay]["loss"] == 0 for relay in case["relays"])


def test_single_packets_leave_one_by_one() -> None:
    (case,) = tiny("--case", "even", "--rate-pps", "2000")["cases"]
    for relay in ("engine", "loop", "loop_plus"):
        assert case[relay]["packets_out"] == 2000 * 2 * TRIAL_S
        assert case[relay]["batches"]["histogram"]["1"] > 0


def test_a_search_is_told_with_delays_and_common_rates() -> None:
    """Whatever this machine can do: what was found hangs together."""
    (case,) = tiny("--case", "edge", "--receiver", "gro", "--fanout", "2")["cases"]
    assert case["rate"] == "found"
    highest = min(case[relay]["pps_out"] for relay in case["relays"])
    for relay in case["relays"]:
        found = case[relay]
        assert found["limited_by"]
        assert found["loss"] < 0.001
        assert set(found["delay_us"]) == {"10%", "50%", "90%"}
        assert found["delay_us"]["10%"]["p50"] > 0
        assert set(found["common"]) == {"highest", "half"}
    assert case["common_pps_out"]["half"] < highest
    assert case["ratio_to_loop"] > 0
    assert case["ratio_to_loop_at_half"] > 0


def test_the_report_goes_to_a_file(tmp_path: Path) -> None:
    done = run(
        *("--case", "even", "--rate-pps", "1000", "--trial-s", "0.02", "--quick"),
        *("--json", str(tmp_path / "report.json")),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert len(json.loads((tmp_path / "report.json").read_text())["cases"]) == 1


@pytest.mark.parametrize("option", ["--receiver", "--case"])
def test_a_word_it_does_not_know_is_refused(option: str) -> None:
    done = run(option, "magic")
    assert done.returncode == 2
    assert "magic" in done.stderr
