"""The demo as a user runs it: real processes, real encoder and decoder, lossy links."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CITIES = ["london", "new-york", "los-angeles", "tokyo"]


def run_demo(out: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "overlane", "demo", "--seconds", "6", "--json"]
    result = subprocess.run(
        [*command, "--out", str(out), *flags],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout)


def processes_with(text: str) -> list[str]:
    """Command lines of running processes that mention `text`."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal() and int(directory.name) != os.getpid():
            try:
                line = (
                    (directory / "cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode(errors="replace")
                )
            except OSError:
                continue
            if text in line:
                found.append(line)
    return found


@pytest.mark.integration
def test_broadcast_crosses_three_lossy_links_whole_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    status, report = run_demo(tmp_path, "--loss", "0.02", "--seed", "5")

    assert status == 0, report
    assert report["is_whole"]
    assert report["frames_sent"] >= 150
    assert report["packets_lost_on_links"] > 20
    assert report["packets_repaired"] > 10
    assert [hop["receiver"] for hop in report["hops"]] == CITIES[1:]
    assert [round(hop["delay_ms"]) for hop in report["hops"]] == pytest.approx([36, 35, 54], abs=12)
    far, late = report["viewers"]
    assert far["path"] == CITIES
    assert late["path"] == CITIES[:2]
    for viewer in (far, late):
        assert viewer["frames_expected"] > 60
        assert viewer["intact_ratio"] >= 0.99
        assert viewer["delay_ms"]["p50"] > 30
        assert Path(viewer["picture"]).read_bytes().startswith(b"\x89PNG")
    assert processes_with(str(tmp_path)) == []


@pytest.mark.integration
def test_without_repair_frames_are_lost_and_the_exit_status_says_so(tmp_path: Path) -> None:
    status, report = run_demo(tmp_path, "--loss", "0.03", "--no-repair")

    assert status == 1
    assert not report["is_whole"]
    assert report["packets_repaired"] == 0
    assert report["viewers"][0]["intact_ratio"] < 0.9
