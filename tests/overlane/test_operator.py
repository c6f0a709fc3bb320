"""An operator's commands beside a real brain, over TLS, and a real node."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

import pytest

from lab.ports import free_ports
from overlane.doctor.check import Check, Verdict
from overlane.doctor.examination import examine
from tests.support.daemons import overlane, running

pytestmark = pytest.mark.integration

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Overlay:
    """api: the brain's, http://..."""

    brain: Path
    node: Path
    api: str


def made(*arguments: str) -> str:
    result = overlane("token", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overlay]:
    """A brain and its one node, registered and with its table."""
    directory = tmp_path_factory.mktemp("overlay")
    control, api, listen, admin = free_ports(4, SystemRandom())
    out = ("--out", str(directory))
    made("ca", *out)
    files = made("brain", "--ca", str(directory), "--host", "127.0.0.1", *out)
    entry = made("node", "tokyo", "--node-id", "7", *out)
    brain, node = directory / "brain.toml", directory / "tokyo.toml"
    brain.write_text(
        f'listen = "127.0.0.1:{control}"\nstate_dir = "state"\napi.listen = "127.0.0.1:{api}"\n'
        f"{files}{entry}"
    )
    node.write_text(
        f'name = "tokyo"\nnode_id = 7\nlisten = "127.0.0.1:{listen}"\n'
        f'viewers.listen = "127.0.0.1:0"\nadmin.listen = "127.0.0.1:{admin}"\n'
        f"limits.slab_mib = 8\nlimits.viewers = 16\n"
        f'[controller]\nurl = "wss://127.0.0.1:{control}/control"\n'
        f'ca_file = "overlane-ca.pem"\ntoken_file = "tokyo.token"\n'
    )
    url = f"http://127.0.0.1:{api}"
    with running("controller", brain, api), running("relay", node, admin):
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            result = overlane("status", "--brain", url, "--json")
            assert result.returncode == 0, result.stderr
            (known,) = json.loads(result.stdout)["nodes"]
            if known["is_connected"] and known["table"]["is_stored"]:
                break
            assert time.monotonic() < deadline_s, known
        yield Overlay(brain, node, url)


def topics(path: Path) -> dict[str, dict[str, Check]]:
    return {
        topic.name: {check.what: check for check in topic.checks} for topic in examine(path).topics
    }


def test_the_doctor_of_a_node_that_is_registered(overlay: Overlay) -> None:
    found = topics(overlay.node)
    assert found["this node"]["brain"].found.startswith("registered in term ")
    assert list(found["brain"]) == ["name", "TCP", "TLS", "WebSocket", "brain's clock"]
    assert all(check.verdict is Verdict.OK for check in found["brain"].values())
    assert "within" in found["brain"]["brain's clock"].found
    assert found["files"]["controller.token_file"].verdict is Verdict.OK
    assert "0 neighbours" in found["files"]["stored table"].found
    assert found["certificates"]["controller.ca_file"].verdict is Verdict.OK
    assert all("free" in c.found or "held by" in c.found for c in found["ports"].values())


def test_the_doctor_of_a_brain_that_runs(overlay: Overlay) -> None:
    found = topics(overlay.brain)
    assert "with 1 nodes here" in found["this brain"]["this brain"].found
    assert [check.found for check in found["ports"].values()] == ["held by the running brain"] * 2
    assert found["files"]["state_dir: master.key"].verdict is Verdict.OK
    assert found["files"]["state_dir"].verdict is Verdict.OK


def test_the_doctor_knocks_and_registers_nothing(overlay: Overlay) -> None:
    """The brain goes on with its node, and has no other."""
    topics(overlay.node)
    (known,) = json.loads(overlane("status", "--brain", overlay.api, "--json").stdout)["nodes"]
    assert known["is_connected"]


def test_the_status_of_the_overlay(overlay: Overlay) -> None:
    result = overlane("status", "--brain", overlay.api)
    assert result.returncode == 0, result.stderr
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert rows[0].endswith("1 of 1 nodes here")
    (tokyo,) = (row for row in rows if row.startswith("tokyo "))
    assert tokyo.startswith("tokyo connected")
    assert " current " in tokyo
    assert not tokyo.endswith("?")  # the node itself was asked
    assert "no links" in rows
    assert "no streams" in rows


def test_a_stream_that_nobody_knows_is_one_line(overlay: Overlay) -> None:
    for consumer in ([], ["--consumer", "tokyo"]):
        result = overlane("paths", "explain", "none", "--brain", overlay.api, *consumer)
        assert result.returncode == 1
        assert result.stderr.endswith("(404)\n")
        assert len(result.stderr.splitlines()) == 1
    assert overlane("paths", "list", "--brain", overlay.api).stdout == "no streams\n"
