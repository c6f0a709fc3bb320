"""A brain's configuration: its files, its ports, and what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom

from control_client.certificates import issue, new_lab_ca
from control_client.files import write_private
from lab.ports import free_ports
from overlane.doctor.check import Check, Verdict
from overlane.doctor.examination import examine

NOW = datetime.now(UTC)


def brain_file(directory: Path, more: str = "") -> Path:
    ca = new_lab_ca("lab", NOW)
    pair = issue(ca, "brain", ["127.0.0.1"], "brain", NOW, 100)
    (directory / "brain.pem").write_bytes(pair.certificate_pem)
    write_private(directory / "brain.key", pair.key_pem)
    port, api = free_ports(2, SystemRandom())
    path = directory / "brain.toml"
    path.write_text(
        f'listen = "127.0.0.1:{port}"\nstate_dir = "state"\napi.listen = "127.0.0.1:{api}"\n'
        f'certificate_file = "brain.pem"\nkey_file = "brain.key"\n{more}'
    )
    return path


def found(path: Path) -> dict[str, dict[str, Check]]:
    examination = examine(path)
    assert examination.kind == "brain"
    return {topic.name: {c.what: c for c in topic.checks} for topic in examination.topics}


def test_a_brain_that_does_not_run(tmp_path: Path) -> None:
    topics = found(brain_file(tmp_path))
    assert list(topics) == [
        "configuration", "this brain", "files", "certificates", "ports", "clock", "resources"
    ]  # fmt: skip
    assert topics["configuration"]["valid"].found.endswith("a brain of 0 nodes")
    assert "does not run" in topics["this brain"]["this brain"].found
    assert topics["files"]["state_dir"].found.endswith("made at the first start")
    assert "for 127.0.0.1" in topics["certificates"]["certificate_file"].found
    assert [check.found for check in topics["ports"].values()] == ["free", "free"]


def test_what_others_may_read(tmp_path: Path) -> None:
    path = brain_file(tmp_path)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    write_private(state / "master.key", bytes(32))
    assert found(path)["files"]["state_dir: master.key"].verdict is Verdict.OK
    (state / "master.key").chmod(0o640)
    (tmp_path / "brain.key").chmod(0o644)
    topics = found(path)
    assert topics["files"]["state_dir: master.key"].verdict is Verdict.PROBLEM
    assert topics["certificates"]["key_file"].mend.startswith("chmod 600")


def test_files_are_looked_at_even_if_the_configuration_is_no_use(tmp_path: Path) -> None:
    path = brain_file(tmp_path, '[[nodes]]\nname = "a b"\nnode_id = 0\n')
    (tmp_path / "brain.key").unlink()
    topics = found(path)
    assert {"nodes[0].name", "nodes[0].node_id"} <= set(topics["configuration"])
    assert topics["certificates"]["key_file"].found.endswith("brain.key is not there")
    assert "ports" not in topics
