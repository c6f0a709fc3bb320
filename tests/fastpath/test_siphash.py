"""SipHash-2-4 against published vectors and a second implementation, made from the paper alone."""

import random

import pytest

from fastpath.siphash import digest

SEED = 20_250_101
KEY = bytes(range(16))
MASK = (1 << 64) - 1
# Test vectors of the authors' C program: input 00 01 02 .. of length 0, 1, 2 .., this key.
VECTORS = [
    0x726FDB47DD0E0E31,
    0x74F839C593DC67FD,
    0x0D6C8009D9A94F5A,
    0x85676696D7FB7E2D,
    0xCF2794E0277187B7,
    0x18765564CD99A68D,
    0xCBC9466E58FEE3CE,
    0xAB0200F58B01D137,
    0x93F5F5799A932462,
]


def rotate(x: int, bits: int) -> int:
    return (x << bits | x >> (64 - bits)) & MASK


def rounds(v: list[int], times: int) -> None:
    for _ in range(times):
        v[0] = (v[0] + v[1]) & MASK
        v[2] = (v[2] + v[3]) & MASK
        v[1] = rotate(v[1], 13) ^ v[0]
        v[3] = rotate(v[3], 16) ^ v[2]
        v[0] = rotate(v[0], 32)
        v[2] = (v[2] + v[1]) & MASK
        v[0] = (v[0] + v[3]) & MASK
        v[1] = rotate(v[1], 17) ^ v[2]
        v[3] = rotate(v[3], 21) ^ v[0]
        v[2] = rotate(v[2], 32)


def siphash24(data: bytes, key: bytes) -> int:
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    initial = b"somepseudorandomlygeneratedbytes"
    v = [int.from_bytes(initial[8 * i : 8 * i + 8]) ^ (k1 if i % 2 else k0) for i in range(4)]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_vector_of_the_paper() -> None:
    assert digest(bytes(range(15)), KEY) == 0xA129CA6149BE45E5


@pytest.mark.parametrize("length", range(len(VECTORS)))
def test_vectors_of_the_reference_program(length: int) -> None:
    assert digest(bytes(range(length)), KEY) == VECTORS[length]


@pytest.mark.parametrize("length", range(64))
def test_all_64_lengths_agree_with_the_second_implementation(length: int) -> None:
    assert digest(bytes(range(length)), KEY) == siphash24(bytes(range(length)), KEY)


def test_random_inputs_agree_with_the_second_implementation() -> None:
    draw = random.Random(SEED)
    for _ in range(300):
        data, key = draw.randbytes(draw.randrange(1600)), draw.randbytes(16)
        assert digest(data, key) == siphash24(data, key), f"seed {SEED}"


@pytest.mark.parametrize("length", [0, 15, 17])
def test_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        digest(b"", bytes(length))
