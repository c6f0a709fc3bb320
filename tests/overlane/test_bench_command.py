"""`overlane bench` as an operator meets it: a tiny run, its table, JSON and picture. No speeds."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from bench.support.native import BenchError
from bench.support.plot import check_installed, draw
from bench.support.reading import rows
from overlane.__main__ import app

FANOUT, RATE_PPS = 3, 6_000
COLUMNS = 80


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "overlane", "bench", *arguments],
        env=os.environ | {"COLUMNS": str(COLUMNS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def refused(*arguments: str) -> Any:
    """Of what ends before it measures, in this process."""
    return CliRunner().invoke(app, ["bench", *arguments], env={"COLUMNS": str(COLUMNS)})


def tiny(*more: str) -> subprocess.CompletedProcess[str]:
    return run(
        *("--quick", "--trial-s", "0.1", "--rate", str(RATE_PPS), "--receiver", "plain"),
        *("--fanout", str(FANOUT), "--payload-bytes", "200", *more),
    )


class Ran(NamedTuple):
    stdout: str
    report: dict[str, Any]
    picture: Path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("bench")
    done = tiny("--json", str(folder / "report.json"), "--plot", str(folder / "report.png"))
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "report.json").read_text())
    return Ran(done.stdout, report, folder / "report.png")


@pytest.mark.integration
def test_the_report_is_whole(ran: Ran) -> None:
    assert {case["kind"] for case in ran.report["cases"]} == {"node", "edge"}
    for case in ran.report["cases"]:
        assert (case["fanout"], case["payload_bytes"], case["rate"]) == (FANOUT, 200, RATE_PPS)
        assert case["engine"]["pps_out"] > 0
    environment = ran.report["environment"]
    assert {"overlane", "slow_builds", "has_gso", "steal_share", "other_load"} <= set(environment)
    # What spoils it is in the report and was said.
    for warning in ran.report["warnings"]:
        assert f"WARNING  {warning}" in ran.stdout


@pytest.mark.integration
def test_the_table_has_each_relay_of_each_case_within_80_columns(ran: Ran) -> None:
    lines = ran.stdout.splitlines()
    head = next(i for i, line in enumerate(lines) if "packets/s" in line and "Gbit/s" in line)
    shown = lines[head:]
    for case in ran.report["cases"]:
        start = shown.index(case["name"])
        for row, line in zip(rows(case), shown[start + 1 :], strict=False):
            cells = line.split()
            assert cells[:2] == [row.relay, f"{row.pps_out:,.0f}"]
            assert cells[3] == f"{row.cpu_us_per_packet_out:.3f}"
            assert line.endswith("rate given ") or line.endswith("rate given")
            assert len(line) <= COLUMNS


@pytest.mark.integration
def test_it_says_in_words_what_the_host_does(ran: Ran) -> None:
    assert re.search(
        r"Sending [\d,]+ packets/s of 200 bytes to 3 nodes = 0\.01 Gbit/s takes \d+ % of a core",
        ran.stdout,
    )
    assert "to 3 viewers" in ran.stdout
    assert "no network card takes part" in ran.stdout


@pytest.mark.integration
def test_the_picture_is_one(ran: Ran) -> None:
    data = ran.picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack_from(">II", data, 16)
    assert width > 1_000
    assert height > 200
    assert f"picture: {ran.picture}" in ran.stdout.replace("\n", "")


@pytest.mark.integration
def test_a_picture_of_many_cases_is_taller_and_has_all_their_names(
    ran: Ran, tmp_path: Path
) -> None:
    report = ran.report | {"cases": ran.report["cases"] * 4}
    draw(report, tmp_path / "many.svg")
    draw(ran.report, tmp_path / "few.svg")
    many, few = ((tmp_path / name).read_text() for name in ("many.svg", "few.svg"))
    heights = [float(re.findall(r'height="([\d.]+)pt"', text)[0]) for text in (many, few)]
    assert heights[0] > 2 * heights[1]
    for name in ("packets/s", "one-way delay", "loop_plus", "node 3 x 200 plain"):
        assert f"<!-- {name}" in many


@pytest.mark.integration
def test_json_to_standard_output_is_all_there_is_on_it() -> None:
    done = tiny("--kind", "edge", "--json", "-")
    assert done.returncode == 0, done.stderr
    (case,) = json.loads(done.stdout)["cases"]
    assert case["kind"] == "edge"
    assert "Gbit/s" in done.stderr


@pytest.mark.integration
def test_an_interrupt_ends_it_within_a_trial() -> None:
    """In the midst of a trial of two minutes, at a rate at which the generator mostly sleeps."""
    command = [sys.executable, "-m", "overlane", "bench", "--quick", "--kind", "node"]
    options = ["--fanout", "1", "--receiver", "plain", "--rate", "500", "--trial-s", "60"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as bench:
        assert bench.stdout is not None
        while "1 case" not in bench.stdout.readline():
            assert bench.poll() is None
        time.sleep(3)  # it has set up by then; if it has not, it is interrupted in this
        bench.send_signal(signal.SIGINT)
        try:
            told, _ = bench.communicate(timeout=30)
        finally:
            bench.kill()
    assert bench.returncode == 128 + signal.SIGINT
    assert "Traceback" not in told


def test_help_names_the_options() -> None:
    done = refused("--help")
    assert done.exit_code == 0
    for option in ("--quick", "--fanout", "--payload-bytes", "--receiver", "--kind", "--streams",
                   "--rate", "--json", "--plot", "--peer"):  # fmt: skip
        assert option in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--fanout", "0"], "fanout"),
        (["--receiver", "magic"], "magic"),
        (["--payload-bytes", "9000"], "payload-bytes"),
        (["--peer", "mediasoup"], "mediasoup"),
        (["--kind", "node", "--peer", "nginx"], "--peer is for --kind edge"),
        (["--kind", "edge", "--streams", "5"], "--streams is for --kind node"),
        (["--plot", "report.txt"], "must end in .pdf, .png, .svg"),
        (["--json", "/no/such/folder/report.json"], "No such file or directory"),
        (["--plot", "/no/such/folder/report.png"], "No such file or directory"),
    ],
)
def test_bad_options_are_refused_before_anything_is_measured(
    arguments: list[str], told: str
) -> None:
    done = refused(*arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stdout == ""


def test_a_host_without_matplotlib_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # so that its import fails
    with pytest.raises(BenchError, match=r"pip install 'overlane\[plot\]'"):
        check_installed()
