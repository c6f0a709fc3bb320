"""The control channel's TLS on the brain's side: 1.3, with the brain's certificate."""

from __future__ import annotations

import ssl
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
