"""Secrets, tokens, stored tables and certificates as files: each broken in each way."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_client.certificates import KeyPair, issue, new_lab_ca
from control_client.messages import TableVersion
from control_client.table import HeldTable, NodeTable
from control_client.table_store import TableStore
from control_client.tokens import new_token
from overlane.doctor.certificates import CertificateFile, Role, check_certificate
from overlane.doctor.check import Check, Verdict
from overlane.doctor.files import PrivateFile, check_directory, check_files, read_table
from tests.support.control_channel import neighbour

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
is_root = os.geteuid() == 0


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def one(checks: list[Check]) -> Check:
    (check,) = checks
    return check


def test_a_secret_is_its_owners_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "tokyo.secret", b"5a" * 32)
    file = PrivateFile("neighbours[0].secret_file", path, "secret")
    assert one(check_files([file])).verdict is Verdict.OK
    for mode in (0o640, 0o604, 0o602):
        path.chmod(mode)
        check = one(check_files([file]))
        assert check.verdict is Verdict.PROBLEM
        assert check.mend.startswith(f"chmod 600 {path}")


def test_what_cannot_be_read_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, text in (
        ("none", "is not there"),
        ("pipe", "is no regular file"),
        ("", "no regular"),
    ):
        check = one(check_files([PrivateFile("x", tmp_path / name, "secret")]))
        assert (check.verdict, text in check.found) == (Verdict.PROBLEM, True)


@pytest.mark.skipif(is_root, reason="root may read everything")
def test_a_file_of_somebody_else_names_the_user(tmp_path: Path) -> None:
    path = written(tmp_path / "secret", b"", 0)
    assert "cannot be read by" in one(check_files([PrivateFile("x", path, "secret")])).found


def test_a_token_file_holds_a_token(tmp_path: Path) -> None:
    path = written(tmp_path / "tokyo.token", f"{new_token()}\n".encode())
    file = PrivateFile("controller.token_file", path, "token")
    assert one(check_files([file])).verdict is Verdict.OK
    for data in (b"", b"ovl1.short", b"\xff" * 5000):
        written(path, data)
        check = one(check_files([file]))
        assert check.found == f"{path} holds no token"
        assert "overlane token node" in check.mend


def test_a_stored_table_gives_its_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "tokyo.table"
    assert "none yet" in read_table(path, "tokyo")[1].found
    table = NodeTable.of([neighbour(1), neighbour(2)])
    TableStore(path, "tokyo").save(HeldTable(TableVersion(3, 7), table))

    held, check = read_table(path, "tokyo")
    assert held is not None
    assert held.table == table
    assert (check.verdict, "2 neighbours" in check.found) == (Verdict.OK, True)

    held, check = read_table(path, "paris")
    assert (held, check.verdict) == (None, Verdict.WARNING)
    assert "belongs to node tokyo" in check.found
    written(path, path.read_bytes()[:-1])
    assert "checksum" in read_table(path, "tokyo")[1].found
    path.chmod(0o644)
    assert read_table(path, "tokyo")[1].verdict is Verdict.PROBLEM


def test_a_state_directory(tmp_path: Path) -> None:
    assert "made at the first start" in check_directory("state_dir", tmp_path / "new").found
    assert check_directory("state_dir", tmp_path / "a/b").mend.startswith("make it: mkdir -p")
    assert "no directory" in check_directory("state_dir", written(tmp_path / "file", b"")).found
    for mode, verdict in ((0o700, "ok"), (0o750, "warning"), (0o777, "problem")):
        tmp_path.chmod(mode)
        assert check_directory("state_dir", tmp_path).verdict == verdict
    tmp_path.chmod(0o700)


# -- certificates


@pytest.fixture(scope="module")
def ca() -> KeyPair:
    return new_lab_ca("lab", NOW)


def files(directory: Path, pair: KeyPair, role: Role, host: str | None = None) -> CertificateFile:
    certificate = written(directory / "x.pem", pair.certificate_pem, 0o644)
    key = written(directory / "x.key", pair.key_pem)
    return CertificateFile("certificate_file", certificate, role, key, host)


def test_a_good_certificate_with_its_key(tmp_path: Path, ca: KeyPair) -> None:
    pair = issue(ca, "brain", ["brain.lab", "192.0.2.1"], "brain", NOW)
    for host in ("brain.lab", "BRAIN.lab.", "192.0.2.1", None):
        leaf, key = check_certificate(files(tmp_path, pair, "brain", host), NOW)
        assert leaf.found.endswith("for brain.lab, 192.0.2.1")
        assert (leaf.verdict, key.verdict) == (Verdict.OK, Verdict.OK)


TIMES = [
    (-2 * DAY, Verdict.PROBLEM, "is valid from"),
    (20 * DAY, Verdict.WARNING, "expires on"),
    (31 * DAY, Verdict.PROBLEM, "expired on"),
]


@pytest.mark.parametrize(("after", "verdict", "text"), TIMES)
def test_a_certificate_out_of_its_time(
    tmp_path: Path, ca: KeyPair, after: timedelta, verdict: Verdict, text: str
) -> None:
    pair = issue(ca, "brain", ["brain.lab"], "brain", NOW, 30)
    leaf, _ = check_certificate(files(tmp_path, pair, "brain", "brain.lab"), NOW + after)
    assert (leaf.verdict, text in leaf.found) == (verdict, True)


def test_a_certificate_for_something_else(tmp_path: Path, ca: KeyPair) -> None:
    brain = issue(ca, "brain", ["*.lab"], "brain", NOW)
    leaf, _ = check_certificate(files(tmp_path, brain, "brain", "other.host"), NOW)
    assert leaf.found.endswith("is not for other.host, but for *.lab")
    leaf, _ = check_certificate(files(tmp_path, brain, "brain", "one.lab"), NOW)
    assert leaf.verdict is Verdict.OK
    leaf, _ = check_certificate(files(tmp_path, brain, "brain", "a.one.lab"), NOW)
    assert leaf.verdict is Verdict.PROBLEM
    leaf, _ = check_certificate(files(tmp_path, brain, "node"), NOW)
    assert "is not for a client" in leaf.found
    node = issue(ca, "tokyo", [], "node", NOW)
    leaf, _ = check_certificate(files(tmp_path, node, "brain"), NOW)
    assert "is not for a server" in leaf.found


def test_a_key_that_is_another_open_to_others_or_none(tmp_path: Path, ca: KeyPair) -> None:
    file = files(tmp_path, issue(ca, "tokyo", [], "node", NOW), "node")
    assert file.key_file is not None
    written(file.key_file, issue(ca, "tokyo", [], "node", NOW).key_pem)
    assert "is not this certificate's key" in check_certificate(file, NOW)[1].found
    file.key_file.chmod(0o644)
    assert check_certificate(file, NOW)[1].mend.startswith("chmod 600")
    written(file.key_file, b"no key")
    assert "holds no private key" in check_certificate(file, NOW)[1].found
    file.key_file.unlink()
    assert "is not there" in check_certificate(file, NOW)[1].found


def test_an_authority_is_one(tmp_path: Path, ca: KeyPair) -> None:
    own = written(tmp_path / "ca.pem", ca.certificate_pem, 0o644)
    file = CertificateFile("ca_file", own, "authority")
    assert one(check_certificate(file, NOW)).verdict is Verdict.OK
    assert "expired" in one(check_certificate(file, NOW + 4000 * DAY)).found
    newer = new_lab_ca("lab", NOW + 3000 * DAY)
    written(own, ca.certificate_pem + newer.certificate_pem)
    assert one(check_certificate(file, NOW + 4000 * DAY)).verdict is Verdict.OK
    written(own, issue(ca, "brain", ["x"], "brain", NOW).certificate_pem)
    assert "no authority" in one(check_certificate(file, NOW)).found
    written(own, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert "holds no certificate" in one(check_certificate(file, NOW)).found
