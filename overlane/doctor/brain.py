"""Whether the brain can be reached, step by step: name, TCP, TLS, WebSocket. Nothing is registered.

All over one connection, which says goodbye at once. The brain's Date header tells its clock.
"""

from __future__ import annotations

import base64
import errno
import http.client
import os
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from yarl import URL

from control_client.connection import Tls, explain_certificate, ssl_context
from control_client.errors import ConnectionConfigError
from overlane.doctor.check import Check, ok, problem, warning
from overlane.doctor.patience import Started
from overlane.peer import printable_line

RESOLVE_S = 3.0
CONNECT_S = 3.0
MAX_OFFSET_S = 2.0  # chosen: a Date header has whole seconds
MASKED_CLOSE = b"\x88\x80" + bytes(4)  # RFC 6455 5.2: final, close, no payload, a mask of zeros
_CODES = {
    errno.ECONNREFUSED: "start the brain there (overlane controller), or correct the port",
    errno.ENETUNREACH: "add a route: see ip route",
    errno.EHOSTUNREACH: "see that the host is up, and that nothing on the way rejects it",
}


@dataclass(frozen=True, slots=True)
class BrainAddress:
    """Where a node finds its brain. tls: None for plain text."""

    url: URL
    tls: Tls | None


def check_brain(brain: BrainAddress, step_s: float = CONNECT_S) -> list[Check]:
    """Up to the first step that fails. step_s: how long the brain may take for each."""
    checks: list[Check] = []
    opened = _connect(brain.url, step_s, checks)
    if opened is None:
        return checks
    secured = _secure(opened, brain, checks) if brain.tls is not None else opened
    if secured is None:
        return checks
    with secured:
        _upgrade(secured, brain.url, checks)
    return checks


def _connect(url: URL, step_s: float, checks: list[Check]) -> socket.socket | None:
    host, port = url.host or "", url.port or 0
    look_up = Started(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    try:
        addresses = look_up.result(RESOLVE_S)
    except TimeoutError:
        found = f"looking {host} up takes longer than {RESOLVE_S:.0f} s"
        checks.append(problem("name", found, "see whether the name servers answer: resolvectl"))
        return None
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no name of a host"
        mend = "correct the host in controller.url, or add it to the DNS or /etc/hosts"
        checks.append(problem("name", f"{host}: {reason}", mend))
        return None
    shown = ", ".join(dict.fromkeys(str(each[4][0]) for each in addresses))
    checks.append(ok("name", host if shown == host else f"{host} is {shown}"))
    failure: OSError = TimeoutError()
    deadline_s = time.monotonic() + step_s
    for family, kind, protocol, _, address in addresses:
        opened = socket.socket(family, kind, protocol)
        opened.settimeout(max(deadline_s - time.monotonic(), 0.1))
        try:
            opened.connect(address)
        except OSError as error:
            failure = error
            opened.close()
            continue
        opened.settimeout(step_s)
        checks.append(ok("TCP", f"{host}:{port} answers"))
        return opened
    reason = "no answer" if isinstance(failure, TimeoutError) else os.strerror(failure.errno or 0)
    mend = _CODES.get(failure.errno or 0, f"let TCP to port {port} pass the firewalls on the way")
    checks.append(problem("TCP", f"{host}:{port}: {reason}", mend))
    return None


def _secure(
    opened: socket.socket, brain: BrainAddress, checks: list[Check]
) -> ssl.SSLSocket | None:
    assert brain.tls is not None
    host = brain.url.host
    try:
        secured = ssl_context(brain.tls).wrap_socket(opened, server_hostname=host)
    except ConnectionConfigError as error:
        checks.append(problem("TLS", str(error), "correct the files named in [controller]"))
    except ssl.SSLCertVerificationError as error:
        found = explain_certificate(error, host, brain.tls.ca_file)
        mend = {
            9: "set this host's clock",
            10: "give the brain a new certificate, or set this host's clock",
            62: f"issue one with {host} in subjectAltName, or use a name that it has in the url",
            64: f"issue one with {host} in subjectAltName, or use a name that it has in the url",
        }.get(error.verify_code, "give ca_file the authority that signed the brain's certificate")
        checks.append(problem("TLS", found, mend))
    except TimeoutError:
        checks.append(problem("TLS", "no answer", "see that a brain, with TLS, listens there"))
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        found = f"no handshake: {printable_line(reason)}"
        checks.append(problem("TLS", found, "see that what listens there speaks TLS 1.3"))
    else:
        checks.append(ok("TLS", f"{secured.version()}, the certificate is for {host} and verified"))
        return secured
    opened.close()
    return None


def _upgrade(opened: socket.socket, url: URL, checks: list[Check]) -> None:
    what = "WebSocket"
    headers = {
        "Host": url.raw_authority,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
    }
    connection = http.client.HTTPConnection(url.host or "")
    connection.sock = opened
    before_s = time.time()
    try:
        connection.request("GET", url.raw_path_qs, headers=headers)
        response = connection.getresponse()
        after_s = time.time()
        if response.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            opened.sendall(MASKED_CLOSE)
    except (http.client.HTTPException, OSError) as error:
        reason = printable_line(str(error)) or type(error).__name__
        mend = "see that a brain's control port is there, not another service"
        if isinstance(error, ConnectionResetError | ssl.SSLError):
            mend = "if the brain wants certificates of nodes, give certificate_file and key_file"
        checks.append(problem(what, f"no answer: {reason}", mend))
        return
    if response.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
        found = f"{url} is no control channel (HTTP status {response.status})"
        checks.append(problem(what, found, "correct the path: usually /control"))
        return
    checks.append(ok(what, f"{url.raw_path} is a control channel; nothing was registered"))
    checks.append(judge_date(response.getheader("Date"), before_s, after_s))


def judge_date(date: str | None, before_s: float, after_s: float) -> Check:
    """The brain's clock against this host's. before_s, after_s: when it was asked and answered."""
    what = "brain's clock"
    try:
        told = parsedate_to_datetime(date or "")
        middle_s = told.replace(tzinfo=told.tzinfo or UTC).timestamp() + 0.5
    except (ValueError, TypeError, OverflowError):
        return ok(what, "it does not tell its time")
    offset_s = middle_s - (before_s + after_s) / 2
    uncertain_s = 0.5 + (after_s - before_s) / 2
    if abs(offset_s) > MAX_OFFSET_S + uncertain_s:
        found = f"{offset_s:+.0f} s from this host's"
        mend = "let both hosts' clocks be kept by NTP: certificates and logs depend on them"
        return warning(what, found, mend)
    return ok(what, f"agrees with this host's within {abs(offset_s) + uncertain_s:.1f} s")
