"""`overlane token` makes what brain and nodes really accept of each other."""

from __future__ import annotations

import ssl
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from control_client.tokens import is_token, token_hash
from controller.config_file import load


def overlane(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "overlane", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["controller", "token"])
def test_help(command: str, tmp_path: Path) -> None:
    result = overlane(tmp_path, command, "--help")
    assert result.returncode == 0
    assert "Usage:" in result.stdout


def test_what_the_commands_print_is_a_configuration(tmp_path: Path) -> None:
    assert overlane(tmp_path, "token", "ca", "--out", "ca").returncode == 0
    hosts = ["--host", "127.0.0.1", "--host", "brain.lab"]
    brain = overlane(tmp_path, "token", "brain", "--ca", "ca", *hosts)
    node = overlane(tmp_path, "token", "node", "tokyo", "--node-id", "7", "--out", "tokens")
    assert (brain.returncode, node.returncode) == (0, 0)
    text = f'listen = "127.0.0.1:7100"\nstate_dir = "state"\n{brain.stdout}{node.stdout}'
    (tmp_path / "brain.toml").write_text(text)
    config = load(tmp_path / "brain.toml")
    (known,) = config.known_nodes
    token = (tmp_path / "tokens" / "tokyo.token").read_text().strip()
    assert is_token(token)
    assert (known.name, known.node_id, known.token_hash) == ("tokyo", 7, token_hash(token))
    for secret in ("tokens/tokyo.token", "ca/overlane-ca.key", "overlane-brain.key"):
        assert (tmp_path / secret).stat().st_mode & 0o777 == 0o600
    ssl.create_default_context(cafile=tmp_path / "ca" / "overlane-ca.pem")
    assert token not in node.stdout


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert overlane(tmp_path, "token", "node", "tokyo").returncode == 0
    before = (tmp_path / "tokyo.token").read_bytes()
    again = overlane(tmp_path, "token", "node", "tokyo")
    assert again.returncode == 1
    assert again.stderr == (
        "overlane: tokyo.token is there already: a new token shuts the node out; remove it first\n"
    )
    assert (tmp_path / "tokyo.token").read_bytes() == before
    assert overlane(tmp_path, "token", "ca").returncode == 0
    assert "is there already" in overlane(tmp_path, "token", "ca").stderr


def test_an_entry_without_an_id_says_what_is_missing(tmp_path: Path) -> None:
    printed = overlane(tmp_path, "token", "node", "tokyo").stdout
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(printed)
    assert "node_id = N  # what the node's configuration says" in printed


def test_bad_arguments(tmp_path: Path) -> None:
    for arguments, text in (
        (("node", "a b"), "'a b': a name has A-Z a-z 0-9 . _ - only"),
        (("node", "x" * 33), "a name has A-Z a-z 0-9 . _ - only, at most 32"),
        (("brain", "--ca", "none", "--host", "x"), "No such file or directory"),
    ):
        result = overlane(tmp_path, "token", *arguments)
        assert result.returncode in (1, 2)
        assert text in result.stderr
    result = overlane(tmp_path, "controller", "--config", "none.toml")
    assert (result.returncode, result.stderr) == (2, "none.toml: No such file or directory\n")
