"""The lab's certificates, judged by the library that verifies them in use (see test_connection)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from control_client.certificates import KeyPair, issue, new_lab_ca
from control_client.errors import CertificateError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def parsed(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate_pem)


def test_a_brain_and_a_node_of_one_authority() -> None:
    ca = new_lab_ca("lab", NOW)
    brain = parsed(issue(ca, "brain", ["brain.lab", "192.0.2.1", "2001:db8::1"], "brain", NOW))
    node = parsed(issue(ca, "tokyo", [], "node", NOW, days=2))
    authority = parsed(ca)
    for certificate in (brain, node):
        certificate.verify_directly_issued_by(authority)
        assert certificate.not_valid_before_utc == NOW - timedelta(hours=1)
    assert node.not_valid_after_utc == node.not_valid_before_utc + timedelta(days=2)
    names = brain.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["brain.lab"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == [
        "192.0.2.1",
        "2001:db8::1",
    ]
    for certificate, usage in (
        (brain, ExtendedKeyUsageOID.SERVER_AUTH),
        (node, ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        assert list(extension.value) == [usage]
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_what_cannot_be_issued() -> None:
    ca, other = new_lab_ca("lab", NOW), new_lab_ca("other", NOW)
    with pytest.raises(CertificateError, match="needs the hosts"):
        issue(ca, "brain", [], "brain", NOW)
    for host in ("héllo", "a b", "", "-a.example", "a..b", "https://a", "a:7100", "*"):
        with pytest.raises(CertificateError, match="neither a host name nor an IP address"):
            issue(ca, "brain", [host], "brain", NOW)
    assert issue(ca, "brain", ["brain", "*.example.net", "a-1.b_2.example", "::1"], "brain", NOW)
    with pytest.raises(CertificateError, match="1 to 64 characters"):
        issue(ca, "n" * 65, [], "node", NOW)
    with pytest.raises(CertificateError, match="not readable PEM"):
        issue(KeyPair(b"x", ca.key_pem), "tokyo", [], "node", NOW)
    with pytest.raises(CertificateError, match="does not belong"):
        issue(KeyPair(ca.certificate_pem, other.key_pem), "tokyo", [], "node", NOW)


def test_a_key_does_not_show() -> None:
    assert repr(new_lab_ca("lab", NOW)) == "KeyPair()"
