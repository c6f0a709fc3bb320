"""Certificates as files: readable, in their time, fit for their use, and with their key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from control_client.files import read_bounded
from overlane.doctor.check import Check, ok, problem, warning
from overlane.doctor.files import mode_problem, why_unreadable

_Found = TypeVar("_Found")

MAX_FILE_BYTES = 1 << 20
SOON = timedelta(days=14)  # chosen: time enough for whoever issues them

Role: TypeAlias = Literal["authority", "brain", "node"]
_USAGE = {"brain": ExtendedKeyUsageOID.SERVER_AUTH, "node": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """key: of the configuration. host: what it must be valid for; None: not known here."""

    key: str
    path: Path
    role: Role
    key_file: Path | None = None
    host: str | None = None


def check_certificate(file: CertificateFile, now: datetime) -> list[Check]:
    """The certificate, and its key if it has one. now: with a time zone."""
    if (reason := why_unreadable(file.path)) is not None:
        return [problem(file.key, *reason)]
    try:
        chain = x509.load_pem_x509_certificates(read_bounded(file.path, MAX_FILE_BYTES))
    except ValueError:
        mend = "give a certificate in PEM: overlane token makes them for a lab"
        return [problem(file.key, f"{file.path} holds no certificate", mend)]
    if file.role == "authority":
        return [_check_authorities(file, chain, now)]
    checks = [_check_leaf(file, chain[0], now)]
    if file.key_file is not None:
        checks.append(_check_key(file.key_file, chain[0]))
    return checks


def _check_authorities(
    file: CertificateFile, chain: list[x509.Certificate], now: datetime
) -> Check:
    """One that is good is enough: others may be there for the past or the future."""
    authorities = [each for each in chain if _is_authority(each)]
    if not authorities:
        found = f"{file.path} holds no authority's certificate"
        return problem(file.key, found, "give that of the authority, not the brain's own")
    newest = max(authorities, key=lambda each: each.not_valid_after_utc)
    return _check_time(file, newest, now) or _fine(file, newest)


def _check_leaf(file: CertificateFile, leaf: x509.Certificate, now: datetime) -> Check:
    if (late := _check_time(file, leaf, now)) is not None and late.verdict == "problem":
        return late
    if not _is_for(file.role, leaf):
        purpose = "a server" if file.role == "brain" else "a client"
        mend = f"issue one for {purpose}: overlane token {file.role} makes them for a lab"
        return problem(file.key, f"{file.path} is not for {purpose} (extended key usage)", mend)
    if file.host is not None and not names_host(leaf, file.host):
        found = f"{file.path} is not for {file.host}, but for {', '.join(hosts_of(leaf)) or 'none'}"
        return problem(file.key, found, f"issue one with {file.host} in subjectAltName")
    return late or _fine(file, leaf)


def _check_time(
    file: CertificateFile, certificate: x509.Certificate, now: datetime
) -> Check | None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        found = f"{file.path} is valid from {start:%Y-%m-%d %H:%M} UTC on"
        return problem(file.key, found, "set this host's clock, or issue a new one")
    if now > end:
        found = f"{file.path} expired on {end:%Y-%m-%d %H:%M} UTC"
        return problem(file.key, found, "issue a new one and restart what uses it")
    if end - now < SOON:
        found = f"{file.path} expires on {end:%Y-%m-%d %H:%M} UTC"
        return warning(file.key, found, "issue a new one before, and restart what uses it")
    return None


def _fine(file: CertificateFile, certificate: x509.Certificate) -> Check:
    end = certificate.not_valid_after_utc.astimezone(UTC)
    hosts = ", ".join(hosts_of(certificate))
    found = f"{file.path}, until {end:%Y-%m-%d}"
    return ok(file.key, f"{found}, for {hosts}" if hosts else found)


def _check_key(path: Path, leaf: x509.Certificate) -> Check:
    what = "key_file"
    if (reason := why_unreadable(path)) is not None:
        return problem(what, *reason)
    if (exposed := mode_problem(what, path)) is not None:
        return exposed
    try:
        key = serialization.load_pem_private_key(read_bounded(path, MAX_FILE_BYTES), None)
    except TypeError:
        return problem(what, f"{path} is encrypted", f"decrypt it: openssl pkey -in {path}")
    except ValueError:
        return problem(what, f"{path} holds no private key", "give the certificate's key in PEM")
    if key.public_key() != leaf.public_key():
        return problem(what, f"{path} is not this certificate's key", "give the one made with it")
    return ok(what, f"{path}, the certificate's own")


def _is_authority(certificate: x509.Certificate) -> bool:
    found = _extension(certificate, lambda e: e.get_extension_for_class(x509.BasicConstraints))
    return found is not None and found.value.ca


def _is_for(role: Role, certificate: x509.Certificate) -> bool:
    """One without the extension is for anything (RFC 5280 4.2.1.12)."""
    found = _extension(certificate, lambda e: e.get_extension_for_class(x509.ExtendedKeyUsage))
    return found is None or _USAGE[role] in found.value


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """Names and addresses that it is valid for."""
    found = _extension(
        certificate, lambda e: e.get_extension_for_class(x509.SubjectAlternativeName)
    )
    if found is None:
        return []
    names = found.value.get_values_for_type(x509.DNSName)
    return [*names, *map(str, found.value.get_values_for_type(x509.IPAddress))]


def names_host(certificate: x509.Certificate, host: str) -> bool:
    """Whether a client that was told `host` accepts it (RFC 6125 6.4: one label for a wildcard)."""
    try:
        wanted = str(ip_address(host))
    except ValueError:
        wanted = host.lower().rstrip(".")
    hosts = [name.lower() for name in hosts_of(certificate)]
    return wanted in hosts or f"*.{wanted.partition('.')[2]}" in hosts


def _extension(
    certificate: x509.Certificate, find: Callable[[x509.Extensions], _Found]
) -> _Found | None:
    try:
        return find(certificate.extensions)
    except (x509.ExtensionNotFound, ValueError):  # ValueError: one that does not parse
        return None
