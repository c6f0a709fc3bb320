"""The command line's own behaviour: help, exit codes, one-line errors."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = sorted(str(path) for path in Path("configs").rglob("*.toml"))


def overlane(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "overlane", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


COMMANDS_WITH_HELP = [
    "relay",
    "publish",
    "play",
    "demo",
    "status",
    "check-config",
    "doctor",
    "paths",
]


@pytest.mark.parametrize("command", COMMANDS_WITH_HELP)
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


@pytest.mark.parametrize(
    "command", [["status"], ["paths", "list"], ["paths", "explain", "demo"]], ids=" ".join
)
def test_a_brain_that_is_not_there_is_one_line(command: list[str]) -> None:
    result = overlane(*command, "--brain", "127.0.0.1:9")

    assert result.returncode == 1
    text = "127.0.0.1:9: cannot connect: Connection refused"
    assert result.stderr == f"overlane: {text}; is this the address of the brain's HTTP API?\n"


@pytest.mark.parametrize("wrong", [[], ["--brain", "x", "y"], ["x", "--watch", "--json"]])
def test_status_of_nothing_or_of_both_is_refused(wrong: list[str]) -> None:
    assert overlane("status", *wrong).returncode == 2


def test_publish_refuses_a_bad_address_in_one_line() -> None:
    result = overlane("publish", "demo", "--to", "nowhere")

    assert result.returncode == 2
    assert "nowhere" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_relay_with_a_missing_file_says_so() -> None:
    result = overlane("relay", "--config", "/nonexistent/node.toml")

    assert result.returncode == 2
    assert "/nonexistent/node.toml" in result.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--source", "/nonexistent.mkv"], "--source /nonexistent.mkv: No such file or directory"),
        (["--copy"], "--copy needs --source"),
    ],
)
def test_the_demo_starts_nothing_for_a_film_it_cannot_read(options: list[str], text: str) -> None:
    result = overlane("demo", *options)

    assert (result.returncode, result.stderr) == (2, f"overlane: {text}\n")


def test_the_demo_says_where_it_cannot_write(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")

    result = overlane("demo", "--out", str(occupied))

    assert result.returncode == 1
    assert "cannot write to" in result.stderr
    assert "Traceback" not in result.stderr


def in_shell(script: str) -> subprocess.CompletedProcess[str]:
    """With `overlane` standing for the command."""
    function = f'overlane() {{ {sys.executable} -m overlane "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", function + script], capture_output=True, text=True, timeout=60, check=False
    )


OUTPUTS = [
    (">/dev/full", "overlane: cannot write to standard output: No space left on device\n"),
    (">&-", "overlane: cannot write to standard output: Bad file descriptor\n"),
    ("| true; exit ${PIPESTATUS[0]}", ""),
    (">&- 2>&- <&-", ""),
    (">/dev/full 2>/dev/full", ""),
]


@pytest.mark.parametrize(("where", "said"), OUTPUTS)
def test_an_answer_that_cannot_be_written_fails_in_one_line(where: str, said: str) -> None:
    result = in_shell(f"overlane check-config --json {' '.join(EXAMPLES)} {where}")

    assert (result.returncode, result.stderr) == (1, said)


def test_a_broadcast_outlives_its_progress_lines(tmp_path: Path) -> None:
    report = tmp_path / "sent.jsonl"
    result = in_shell(
        f"overlane publish s --to 127.0.0.1:9 --seconds 0.5 --manifest {report} >/dev/full"
    )

    assert result.returncode == 1
    assert result.stderr.endswith("standard output: No space left on device\n")
    assert '"end":true,"frames":15' in report.read_text().splitlines()[-1]


def test_a_manifest_that_cannot_be_written_is_told_at_the_end() -> None:
    result = overlane(
        "publish", "s", "--to", "127.0.0.1:9", "--seconds", "0.5", "--manifest", "/dev/full"
    )

    assert result.returncode == 1
    assert "15 frames" in result.stdout
    assert result.stderr == (
        "overlane: cannot write /dev/full: No space left on device; the manifest ends there\n"
    )


BAD_ARGUMENTS = [
    (["publish", "s", "--to", "\udcff:9"], 1, "is no name of a host"),
    (["publish", "s", "--to", "127.0.0.1:9", "--gop-s", "1e300"], 2, "gop_s: "),
    (
        ["publish", "s", "--to", "127.0.0.1:9", "--source", "/dev/null"],
        1,
        "/dev/null is empty, cut",
    ),
    (["play", "s", "--node", ":::"], 2, "node: ':::' is not of the form host:port"),
    (["check-config", "\udcff", "--json"], 1, ""),
    (["relay", "--config", "x", "--set", "=1"], 2, "give KEY=VALUE"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), BAD_ARGUMENTS)
def test_bad_arguments_are_one_line(arguments: list[str], code: int, said: str) -> None:
    result = overlane(*arguments)

    assert result.returncode == code
    assert said in result.stderr
    assert len(result.stderr.splitlines()) <= 1


COMMANDS = [
    ["publish", "s", "--to", "127.0.0.1:9"],
    ["play", "s", "--node", "127.0.0.1:9", "--wait-seconds", "60"],
    ["demo"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_signal_at_any_moment_ends_a_command_cleanly(tmp_path: Path, command: list[str]) -> None:
    moments = ((0.2, signal.SIGINT), (0.6, signal.SIGTERM), (1.0, signal.SIGHUP))
    for delay_s, number in moments:
        out = ["--out", str(tmp_path)] if command[0] == "demo" else []
        process = subprocess.Popen(
            [sys.executable, "-m", "overlane", *command, *out],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(delay_s)
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
        assert process.returncode in (0, 1, 128 + number, -number)
        assert "__main__.py" not in said  # no traceback, but for one of the interpreter's own start
