"""The control channel's TLS on the brain's side: 1.3, with the brain's certificate."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from controller.errors import ControllerError


class TlsError(ControllerError):
    """A certificate or key that cannot be used. key: of the configuration."""

    def __init__(self, key: str, text: str) -> None:
        self.key = key
        super().__init__(text)


def server_context(
    certificate_file: Path, key_file: Path, client_ca_file: Path | None
) -> ssl.SSLContext:
    """client_ca_file: if given, nodes must show a certificate of it. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    for key, file in (("certificate_file", certificate_file), ("key_file", key_file)):
        try:
            with file.open("rb"):
                pass
        except OSError as error:
            raise TlsError(key, f"{file}: {error.strerror}") from None
    try:
        context.load_cert_chain(certificate_file, key_file, password="")
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        files = f"{certificate_file}, {key_file}"
        text = f"{files}: no certificate with its key: {reason}"
        raise TlsError("certificate_file", text) from None
    if client_ca_file is not None:
        try:
            context.load_verify_locations(client_ca_file)
        except (OSError, ssl.SSLError) as error:
            text = f"{client_ca_file}: no authority's certificate: {error.strerror or error}"
            raise TlsError("client_ca_file", text) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def report_failures(context: ssl.SSLContext, on_failure: Callable[[str], None]) -> None:
    """Tell of handshakes that fail, in one line: asyncio keeps them to itself."""

    class Reporting(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                on_failure(_explain(error))
                raise

    context.sslobject_class = Reporting


def _explain(error: ssl.SSLError) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the node's certificate is no good: {error.verify_message}"
    for word, text in _REASONS.items():
        if word in reason:
            return text
    return reason


_REASONS = {
    "http request": "plain text came: the node's url is to begin with wss://",
    "peer did not return a certificate": "the node showed no certificate, and client_ca_file asks "
    "for one",
    "unsupported protocol": "the other side speaks no TLS 1.3",
    "no protocols available": "the other side speaks no TLS 1.3",
    "wrong version number": "what came is no TLS",
}
