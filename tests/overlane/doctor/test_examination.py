"""`overlane doctor` as a whole: of a host, of configurations, and beside a node that runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest

from control_client.messages import TableVersion
from control_client.table import HeldTable, NodeTable
from control_client.table_store import TableStore
from control_client.tokens import new_token
from lab.ports import free_pairs, free_ports
from overlane.doctor.check import Check, Verdict
from overlane.doctor.examination import Examination, examine
from overlane.doctor.patience import Started
from overlane.doctor.view import as_json
from tests.support.control_channel import neighbour
from tests.support.daemons import overlane, running

SECRET = "3f" * 32


def node_file(directory: Path, more: str = "") -> tuple[Path, list[int]]:
    """A node's configuration, and its ports: overlay, admin, another."""
    ports = free_ports(3, SystemRandom())
    path = directory / "tokyo.toml"
    path.write_text(
        f'name = "tokyo"\nnode_id = 7\nlisten = "127.0.0.1:{ports[0]}"\n'
        f'viewers.listen = "127.0.0.1:0"\nadmin.listen = "127.0.0.1:{ports[1]}"\n'
        f"limits.slab_mib = 8\nlimits.viewers = 16\n{more}"
    )
    path.chmod(0o600)
    return path, ports


AWAY = """
[controller]
url = "ws://127.0.0.1:1/control"
allow_plain_text = true
token_file = "tokyo.token"
"""


def write_token(directory: Path) -> None:
    path = directory / "tokyo.token"
    path.write_text(new_token())
    path.chmod(0o600)


def static_neighbour(port: int) -> str:
    return (
        f'[[neighbours]]\nname = "paris"\nnode_id = 9\naddress = "127.0.0.1:{port}"\n'
        f'secret = "{SECRET}"\n'
    )


def topics(examination: Examination) -> dict[str, list[Check]]:
    return {topic.name: list(topic.checks) for topic in examination.topics}


def test_the_host_alone() -> None:
    examination = examine(None)
    assert list(topics(examination)) == ["clock", "kernel", "resources"]
    assert examination.kind == "host"


def test_a_node_that_does_not_run(tmp_path: Path) -> None:
    path, ports = node_file(tmp_path, static_neighbour(9))
    found = topics(examine(path))
    (valid,) = found["configuration"]
    assert valid.found == f"{path}: node tokyo, id 7"
    assert "does not run" in found["this node"][0].found
    assert found["files"][0].verdict is Verdict.OK
    assert [check.found for check in found["ports"]] == ["free", "free: any port will do", "free"]
    assert f"TCP 127.0.0.1:{ports[1]} (admin.listen)" == found["ports"][2].what
    assert "unproven" in found["neighbours"][0].found
    assert "memory" in [check.what for check in found["resources"]]


def test_the_sockets_of_every_worker_are_bound(tmp_path: Path) -> None:
    path, _ = node_file(tmp_path)
    (first,) = free_pairs(1, SystemRandom())
    text = path.read_text().splitlines()
    text[2] = f'listen = "127.0.0.1:{first}"\nworkers = 2'
    path.write_text("\n".join(text))
    ports = [check.what for check in topics(examine(path))["ports"]]
    assert ports[:2] == [
        f"UDP 127.0.0.1:{first} (listen)",
        f"UDP 127.0.0.1:{first + 1} (listen, worker 1)",
    ]


def test_a_configuration_with_secrets_that_others_may_read(tmp_path: Path) -> None:
    path, _ = node_file(tmp_path, static_neighbour(9))
    path.chmod(0o644)
    (check,) = topics(examine(path))["files"]
    assert (check.verdict, check.mend[:9]) == (Verdict.PROBLEM, "chmod 600")


def test_a_configuration_that_is_no_use_and_the_host_all_the_same(tmp_path: Path) -> None:
    path, _ = node_file(tmp_path, AWAY)
    write_token(tmp_path)
    table = NodeTable.of([neighbour(1)])
    TableStore(tmp_path / "tokyo.table", "tokyo").save(HeldTable(TableVersion(3, 7), table))

    found = topics(examine(path))
    assert [check.what for check in found["files"]] == ["controller.token_file", "stored table"]
    assert all(check.verdict is Verdict.OK for check in found["files"])
    assert found["neighbours"][0].what == "neighbour n1 (stored table)"
    assert found["neighbours"][0].verdict is Verdict.PROBLEM  # listen is loopback, it is not
    assert found["brain"][-1].found == "127.0.0.1:1: Connection refused"


def test_work_that_never_ends_is_left_behind() -> None:
    started = Started(lambda: time.sleep(3600))
    with pytest.raises(TimeoutError):
        started.result(0.01)
    with pytest.raises(ZeroDivisionError):
        Started(lambda: 1 // 0).result(10)
    assert Started(lambda: 5).result(10) == 5


# -- the command


def test_exit_code_and_json(tmp_path: Path) -> None:
    result = overlane("doctor", "--json", "--config", str(tmp_path / "none.toml"))
    assert result.returncode == 1
    said: dict[str, Any] = json.loads(result.stdout)
    assert said["problems"] >= 1
    assert said["checks"][0] == {
        "topic": "configuration",
        "check": "file",
        "verdict": "problem",
        "found": f"{tmp_path}/none.toml is not there",
        "mend": "make it, or correct the name",
    }


def test_elsewhere_than_on_a_terminal_each_thing_is_one_line(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    result = overlane("doctor", "--config", str(deep))
    assert f"  problem  file: {deep} is not there\n" in result.stdout
    assert "           -> make it, or correct the name\n" in result.stdout
    assert " problem" in result.stdout.splitlines()[-1]


# -- beside a node that runs


@pytest.mark.integration
def test_a_running_node_is_asked_and_changed_in_nothing(tmp_path: Path) -> None:
    path, ports = node_file(tmp_path, AWAY + static_neighbour(9))
    write_token(tmp_path)
    with running("relay", path, ports[1]):
        examination = examine(path)
        shown = overlane("status", f"127.0.0.1:{ports[1]}").stdout
        found = topics(examination)
        other = tmp_path / "other.toml"
        other.write_text(path.read_text().replace('"tokyo"', '"osaka"', 1))
        of_another = topics(examine(other))

    itself, brain, plain_text = found["this node"]
    assert itself.found.startswith(f"runs, as 127.0.0.1:{ports[1]} says, up ")
    assert ", with no table" in brain.found
    assert plain_text.found == "does without control_tls"
    assert "wss://" in plain_text.mend
    assert "ws://127.0.0.1:1/control" in shown
    assert "no table" in shown
    overlay, _, admin = found["ports"]
    assert overlay.found == admin.found == "held by the running node"
    assert "its link is down" in found["neighbours"][0].found
    assert as_json(examination)["name"] == "tokyo"

    assert "runs tokyo, not osaka" in of_another["this node"][0].found
    overlay, _, admin = of_another["ports"]
    assert "overlane relay" in overlay.found
    assert "overlane relay" in admin.found
