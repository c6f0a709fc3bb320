"""The forwarding measurement end to end: a tiny run says the truth in valid JSON. No speeds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TRIAL_S, RATE_PPS, FANOUT = 0.2, 3_000, 3
BURST_PACKETS = 16
# Whole bursts in half a trial, which is what the common rate takes.
PACKETS_OUT = round(RATE_PPS / FANOUT * TRIAL_S / BURST_PACKETS) * BURST_PACKETS * FANOUT

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


def tiny(receiver: str, *more: str) -> subprocess.CompletedProcess[str]:
    return run(
        *("--quick", "--trial-s", str(2 * TRIAL_S), "--rate-pps", str(RATE_PPS)),
        *("--fanout", str(FANOUT), "--payload-bytes", "200", "--receiver", receiver, *more),
    )


@pytest.mark.parametrize("receiver", ["plain", "gro"])
def test_a_tiny_run_counts_every_packet(receiver: str) -> None:
    done = tiny(receiver)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert set(report) == {"question", "environment", "method", "cases"}
    assert report["method"]["burst_packets"] == BURST_PACKETS
    (case,) = report["cases"]
    assert (case["fanout"], case["payload_bytes"], case["receiver"]) == (FANOUT, 200, receiver)
    for relay in ("engine", "loop"):
        found = case[relay]["at_common_rate"]
        assert found["packets_out"] == PACKETS_OUT
        assert found["loss"] == 0
        # A frame's packets leave together; more than a frame only where the relay was held up.
        assert BURST_PACKETS <= found["batches_mean_packets"] <= 64
        assert found["cpu_us_per_packet_out"] > 0
    assert case["ratio_to_loop"] is None  # nothing was searched
    assert case["ratio_to_loop_at_common_rate"] > 0


def test_the_report_goes_to_a_file(tmp_path: Path) -> None:
    done = tiny("plain", "--json", str(tmp_path / "report.json"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert len(json.loads((tmp_path / "report.json").read_text())["cases"]) == 1


def test_a_receiver_it_does_not_know_is_refused() -> None:
    done = run("--receiver", "magic")
    assert done.returncode == 2
    assert "magic" in done.stderr
