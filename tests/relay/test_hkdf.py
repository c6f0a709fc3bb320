"""HKDF against RFC 5869's vectors, and what link keys depend on."""

import pytest

from relay.hkdf import Endpoint, hello_key, hkdf_expand, hkdf_extract, link_key, session_key

# RFC 5869 appendix A: test cases 1 to 3 (SHA-256).
VECTORS = [
    (
        "0b" * 22,
        bytes(range(0x0D)).hex(),
        bytes(range(0xF0, 0xFA)).hex(),
        42,
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        82,
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
        "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
        "cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "0b" * 22,
        "",
        "",
        42,
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("secret", "salt", "info", "size", "key", "output"), VECTORS)
def test_rfc_5869_vectors(
    secret: str, salt: str, info: str, size: int, key: str, output: str
) -> None:
    extracted = hkdf_extract(bytes.fromhex(salt), bytes.fromhex(secret))
    assert extracted.hex() == key
    assert hkdf_expand(extracted, bytes.fromhex(info), size).hex() == output


def test_both_sides_make_the_same_session_and_each_direction_has_its_key() -> None:
    secret = bytes(32)
    nonces = {2: b"b" * 16, 1: b"a" * 16}
    session = session_key(secret, nonces)
    assert session == session_key(secret, dict(sorted(nonces.items())))
    assert session != session_key(secret, {1: b"b" * 16, 2: b"a" * 16})
    ends = Endpoint(1), Endpoint(2), Endpoint(1, worker=1)
    keys = {link_key(session, a, b) for a in ends for b in ends if a != b}
    assert len(keys) == 6
    assert {len(key) for key in keys} == {16}


def test_hello_key_is_its_own() -> None:
    secret = bytes(range(32))
    assert len(hello_key(secret)) == 16
    assert hello_key(secret) != hkdf_extract(b"", secret)[:16]
