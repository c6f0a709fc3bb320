"""A certificate authority for a lab, and the certificates of its brain and nodes.

Made with `cryptography`, which is maintained by the Python Cryptographic Authority. ECDSA on P-256,
and the extensions that strict verification asks for (RFC 5280 4.2). Time is a parameter.
A real deployment brings certificates of its own; nothing here is needed then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control_client.errors import CertificateError

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(
    rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.ASCII
)  # RFC 1123 2.1, RFC 6125 6.4.3

CA_DAYS = 3650  # chosen: a lab outlives its first certificates
CERTIFICATE_DAYS = 825  # chosen: the longest that common verifiers have accepted of servers
_BACKDATED = timedelta(hours=1)  # chosen: hosts whose clock is behind accept it at once


@dataclass(frozen=True, slots=True)
class KeyPair:
    """PEM. key_pem is not encrypted: its file's mode protects it."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "KeyPair()"


def new_lab_ca(name: str, now: datetime, days: int = CA_DAYS) -> KeyPair:
    """A self-signed authority that signs end certificates only. now: with a time zone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = (
        _builder(subject, subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def issue(
    ca: KeyPair,
    name: str,
    hosts: Sequence[str],
    purpose: Literal["brain", "node"],
    now: datetime,
    days: int = CERTIFICATE_DAYS,
) -> KeyPair:
    """A certificate for a brain (a TLS server, `hosts` being the names and addresses by which nodes
    reach it) or a node (a TLS client). Raises CertificateError."""
    if purpose == "brain" and not hosts:
        raise CertificateError("a brain's certificate needs the hosts that nodes reach it by")
    try:
        issuer = x509.load_pem_x509_certificate(ca.certificate_pem)
        issuer_key = serialization.load_pem_private_key(ca.key_pem, None)
    except (ValueError, TypeError):
        raise CertificateError("the authority's certificate or key is not readable PEM") from None
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise CertificateError("the authority's key is not an elliptic-curve key")
    if issuer_key.public_key() != issuer.public_key():
        raise CertificateError("the authority's key does not belong to its certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    usage = {
        "brain": ExtendedKeyUsageOID.SERVER_AUTH,
        "node": ExtendedKeyUsageOID.CLIENT_AUTH,
    }[purpose]
    builder = (
        _builder(_subject(name), issuer.subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if hosts:
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    start = now.astimezone(UTC) - _BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError:
        raise CertificateError(f"{name!r}: a name has 1 to 64 characters") from None


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        pass
    if not _HOST_NAME.fullmatch(text):
        raise CertificateError(f"{text!r} is neither a host name nor an IP address")
    return x509.DNSName(text)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
