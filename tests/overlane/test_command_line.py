"""The command line's own behaviour: help, exit codes, one-line errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def overlane(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "overlane", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", ["relay", "publish", "play", "demo", "status", "check-config"])
def test_every_command_explains_itself(command: str) -> None:
    result = overlane(command, "--help")

    assert result.returncode == 0
    assert "Usage:" in result.stdout


def test_check_config_accepts_the_examples() -> None:
    examples = sorted(str(path) for path in Path("configs").rglob("*.toml"))

    result = overlane("check-config", *examples)

    assert examples
    assert result.returncode == 0, result.stderr


def test_check_config_lists_every_problem_with_its_key(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('name = "a"\nnode_id = 0\nlisten = "nowhere"\ncolour = "blue"\n')

    result = overlane("check-config", str(file), "--json")

    assert result.returncode == 1
    problems = json.loads(result.stdout)["problems"]
    assert {problem["key"] for problem in problems} == {"node_id", "listen", "colour"}


def test_status_of_a_node_that_is_not_there_is_one_line() -> None:
    result = overlane("status", "127.0.0.1:9")

    assert result.returncode == 1
    assert result.stderr.startswith("overlane: 127.0.0.1:9")
    assert len(result.stderr.splitlines()) == 1


def test_publish_refuses_a_bad_address_in_one_line() -> None:
    result = overlane("publish", "demo", "--to", "nowhere")

    assert result.returncode == 2
    assert "nowhere" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_relay_with_a_missing_file_says_so() -> None:
    result = overlane("relay", "--config", "/nonexistent/node.toml")

    assert result.returncode == 2
    assert "/nonexistent/node.toml" in result.stderr


def test_the_demo_says_where_it_cannot_write(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")

    result = overlane("demo", "--out", str(occupied))

    assert result.returncode == 1
    assert "cannot write to" in result.stderr
    assert "Traceback" not in result.stderr
