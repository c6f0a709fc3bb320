"""Reaching a brain: real servers on loopback, each wrong in one way. Nothing registers there."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from yarl import URL

from control_client.certificates import KeyPair, issue, new_lab_ca
from control_client.connection import Tls
from overlane.doctor.brain import BrainAddress, check_brain, judge_date
from overlane.doctor.check import Check, Verdict

NOW = datetime.now(UTC)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\n"
)


@dataclass
class Server:
    """One connection is answered with `answer`. heard: all it sent."""

    answer: bytes
    context: ssl.SSLContext | None = None
    heard: bytearray = field(default_factory=bytearray)

    @contextmanager
    def running(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=self._serve, args=(listening,), daemon=True)
            thread.start()
            yield listening.getsockname()[1]
            thread.join(10)

    def _serve(self, listening: socket.socket) -> None:
        plain, _ = listening.accept()
        plain.settimeout(10)
        try:
            client = self.context.wrap_socket(plain, server_side=True) if self.context else plain
            with client:
                self.heard += client.recv(4096)
                client.sendall(self.answer)
                while data := client.recv(4096):
                    self.heard += data
        except OSError:
            pass


def ask(port: int, tls: Tls | None = None, host: str = "127.0.0.1") -> dict[str, Check]:
    scheme = "wss" if tls else "ws"
    checks = check_brain(BrainAddress(URL(f"{scheme}://{host}:{port}/control"), tls))
    return {check.what: check for check in checks}


@dataclass(frozen=True)
class Lab:
    directory: Path
    ca: KeyPair

    @property
    def tls(self) -> Tls:
        path = self.directory / "ca.pem"
        path.write_bytes(self.ca.certificate_pem)
        return Tls(path)

    def context(self, pair: KeyPair) -> ssl.SSLContext:
        certificate, key = self.directory / "x.pem", self.directory / "x.key"
        certificate.write_bytes(pair.certificate_pem)
        key.write_bytes(pair.key_pem)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(certificate, key)
        return made


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, new_lab_ca("lab", NOW))


def test_a_brain_is_reached_and_nothing_is_said_but_goodbye(lab: Lab) -> None:
    pair = issue(lab.ca, "brain", ["127.0.0.1"], "brain", NOW, 2)
    server = Server(SWITCHING, lab.context(pair))
    with server.running() as port:
        checks = ask(port, lab.tls)

    assert list(checks) == ["name", "TCP", "TLS", "WebSocket", "brain's clock"]
    assert all(checks[step].verdict is Verdict.OK for step in ("TCP", "TLS", "WebSocket"))
    assert checks["TLS"].found == "TLSv1.3, the certificate is for 127.0.0.1 and verified"
    request, _, rest = bytes(server.heard).partition(b"\r\n\r\n")
    assert request.startswith(b"GET /control HTTP/1.1\r\n")
    assert rest == b"\x88\x80" + bytes(4)  # a WebSocket's close, and no message before


CERTIFICATES: dict[str, tuple[Callable[[KeyPair], KeyPair], str, str]] = {
    "authority": (
        lambda _: issue(new_lab_ca("lab", NOW), "brain", ["127.0.0.1"], "brain", NOW, 2),
        "is not signed by an authority in",
        "give ca_file the authority",
    ),
    "host": (
        lambda ca: issue(ca, "brain", ["brain.lab", "192.0.2.1"], "brain", NOW, 2),
        "is not for 127.0.0.1",
        "issue one with 127.0.0.1 in subjectAltName",
    ),
    "expired": (
        lambda ca: issue(ca, "brain", ["127.0.0.1"], "brain", NOW - timedelta(days=3), 1),
        "has expired",
        "give the brain a new certificate",
    ),
    "early": (
        lambda ca: issue(ca, "brain", ["127.0.0.1"], "brain", NOW + timedelta(days=3), 1),
        "is not valid yet",
        "set this host's clock",
    ),
}


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_wrong_certificate_and_how_to_mend_it(lab: Lab, kind: str) -> None:
    make, text, mend = CERTIFICATES[kind]
    server = Server(SWITCHING, lab.context(make(lab.ca)))
    with server.running() as port:
        checks = ask(port, lab.tls)
    assert list(checks) == ["name", "TCP", "TLS"]
    assert checks["TLS"].verdict is Verdict.PROBLEM
    assert text in checks["TLS"].found
    assert mend in checks["TLS"].mend
    assert server.heard == b""


def test_tls_where_none_is_spoken_and_a_ca_file_that_is_none(lab: Lab, tmp_path: Path) -> None:
    with Server(b"HTTP/1.1 400 Bad\r\n\r\n").running() as port:
        assert ask(port, lab.tls)["TLS"].found.startswith("no handshake: ")
    with Server(b"").running() as port:
        assert "missing.pem" in ask(port, Tls(tmp_path / "missing.pem"))["TLS"].found


ANSWERS = [
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "(HTTP status 404)"),
    (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", "(HTTP status 302)"),
    (b"SSH-2.0-OpenSSH\x1b[2J\r\n", "no answer: SSH-2.0-OpenSSH"),
]


@pytest.mark.parametrize(("answer", "text"), ANSWERS)
def test_what_is_no_control_channel(answer: bytes, text: str) -> None:
    with Server(answer).running() as port:
        check = ask(port)["WebSocket"]
    assert check.verdict is Verdict.PROBLEM
    assert text in check.found
    assert check.found.isprintable()


def test_nobody_there_and_no_such_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    refused = ask(port)["TCP"]
    assert refused.found == f"127.0.0.1:{port}: Connection refused"
    assert "start the brain there" in refused.mend
    unknown = ask(1, host="no-such-host.invalid")
    assert list(unknown) == ["name"]
    assert unknown["name"].verdict is Verdict.PROBLEM


def test_a_brain_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = URL(f"ws://127.0.0.1:{listening.getsockname()[1]}/")
        check = check_brain(BrainAddress(url, None), step_s=0.1)[-1]
    assert (check.what, check.verdict) == ("WebSocket", Verdict.PROBLEM)
    assert check.found == "no answer: timed out"


def test_a_brain_that_wants_a_nodes_certificate(lab: Lab) -> None:
    context = lab.context(issue(lab.ca, "brain", ["127.0.0.1"], "brain", NOW, 2))
    context.load_verify_locations(lab.tls.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    with Server(SWITCHING, context).running() as port:
        check = ask(port, lab.tls)["WebSocket"]
    assert check.verdict is Verdict.PROBLEM
    assert "give certificate_file and key_file" in check.mend


DATES = [
    ("Sat, 21 Nov 2026 12:00:00 GMT", 1795262400.2, Verdict.OK),
    ("Sat, 21 Nov 2026 12:00:00 GMT", 1795262403.5, Verdict.WARNING),
    ("Sat, 21 Nov 2026 12:00:00 GMT", 1795262397.0, Verdict.WARNING),
    ("yesterday", 1795262400.0, Verdict.OK),
    (None, 1795262400.0, Verdict.OK),
]


@pytest.mark.parametrize(("date", "local_s", "verdict"), DATES)
def test_the_brains_clock(date: str | None, local_s: float, verdict: Verdict) -> None:
    assert judge_date(date, local_s, local_s + 0.1).verdict is verdict
