"""SipHash-2-4, native and in plain Python, against published vectors and each other."""

import random
from collections.abc import Callable

import pytest

from fastpath.reference.siphash import siphash24
from fastpath.siphash import digest, tags_of, ways

SEED = 20_250_101
KEY = bytes(range(16))
# The 64 vectors of the authors' reference program: input 00 01 02 .. of length 0 to 63, this key.
# The one of length 15 is also worked through in the paper's appendix A.
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
    0x9E0082DF0BA9E4B0,
    0x7A5DBBC594DDB9F3,
    0xF4B32F46226BADA7,
    0x751E8FBC860EE5FB,
    0x14EA5627C0843D90,
    0xF723CA908E7AF2EE,
    0xA129CA6149BE45E5,
    0x3F2ACC7F57C29BDB,
    0x699AE9F52CBE4794,
    0x4BC1B3F0968DD39C,
    0xBB6DC91DA77961BD,
    0xBED65CF21AA2EE98,
    0xD0F2CBB02E3B67C7,
    0x93536795E3A33E88,
    0xA80C038CCD5CCEC8,
    0xB8AD50C6F649AF94,
    0xBCE192DE8A85B8EA,
    0x17D835B85BBB15F3,
    0x2F2E6163076BCFAD,
    0xDE4DAAACA71DC9A5,
    0xA6A2506687956571,
    0xAD87A3535C49EF28,
    0x32D892FAD841C342,
    0x7127512F72F27CCE,
    0xA7F32346F95978E3,
    0x12E0B01ABB051238,
    0x15E034D40FA197AE,
    0x314DFFBE0815A3B4,
    0x027990F029623981,
    0xCADCD4E59EF40C4D,
    0x9ABFD8766A33735C,
    0x0E3EA96B5304A7D0,
    0xAD0C42D6FC585992,
    0x187306C89BC215A9,
    0xD4A60ABCF3792B95,
    0xF935451DE4F21DF2,
    0xA9538F0419755787,
    0xDB9ACDDFF56CA510,
    0xD06C98CD5C0975EB,
    0xE612A3CB9ECBA951,
    0xC766E62CFCADAF96,
    0xEE64435A9752FE72,
    0xA192D576B245165A,
    0x0A8787BF8ECB74B2,
    0x81B3E73D20B49B6F,
    0x7FA8220BA3B2ECEA,
    0x245731C13CA42499,
    0xB78DBFAF3A8D83BD,
    0xEA1AD565322A1A0B,
    0x60E61C23A3795013,
    0x6606D7E446282B93,
    0x6CA4ECB15C5F91E1,
    0x9F626DA15C9625F3,
    0xE51B38608EF25F57,
    0x958A324CEB064572,
]

both = pytest.mark.parametrize("implementation", [digest, siphash24], ids=["native", "python"])
Implementation = Callable[[bytes, bytes], int]


@both
def test_all_vectors_of_the_reference_program(implementation: Implementation) -> None:
    assert [implementation(bytes(range(n)), KEY) for n in range(64)] == VECTORS


@both
def test_vector_of_the_paper(implementation: Implementation) -> None:
    assert implementation(bytes(range(15)), KEY) == 0xA129CA6149BE45E5


def test_random_inputs_agree() -> None:
    draw = random.Random(SEED)
    for _ in range(300):
        data, key = draw.randbytes(draw.randrange(1600)), draw.randbytes(16)
        assert digest(data, key) == siphash24(data, key), f"seed {SEED}"


@both
@pytest.mark.parametrize("length", [0, 15, 17])
def test_key_of_another_length_is_refused(length: int, implementation: Implementation) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        implementation(b"", bytes(length))


# -- tags of media packets, several at a time

OVERHEAD_BYTES = 32  # header 24, tag 8
Covered = tuple[int, bytes | memoryview]


def random_packets(draw: random.Random, count: int) -> list[Covered]:
    """Packets of all sizes, at odd places in memory; any high half of hop_seq."""
    made: list[Covered] = []
    for _ in range(count):
        at = draw.randrange(1, 9)
        data = draw.randbytes(at + OVERHEAD_BYTES + draw.choice((16, 17, 200, 1200, 1436)))
        made.append((draw.choice((0, 1, 0xFFFFFFFF, draw.getrandbits(32))), memoryview(data)[at:]))
    return made


def expected_tag(packet: Covered, key: bytes) -> int:
    """By the definition in ARCHITECTURE.md, from the plain hash."""
    high, data = packet[0], bytes(packet[1])
    header, payload = data[:24], data[OVERHEAD_BYTES:]
    return siphash24(header + high.to_bytes(4) + len(payload).to_bytes(4) + payload[:16], key)


@pytest.mark.parametrize("way", ways())
def test_tags_made_together_are_those_made_alone(way: str) -> None:
    """Any number at once, whatever the number of lanes."""
    draw = random.Random(SEED)
    for count in range(1, 65):
        packets, key = random_packets(draw, count), draw.randbytes(16)
        found = tags_of(packets, key, way)
        assert found == tags_of(packets, key, "scalar"), f"seed {SEED}, {count} packets"
        checked = draw.randrange(count)
        assert found[checked] == expected_tag(packets[checked], key), f"seed {SEED}, {count}"


@pytest.mark.parametrize("way", ways())
def test_each_lane_sees_its_own_packet(way: str) -> None:
    """A bit flipped in any covered byte changes that packet's tag, and no other's."""
    key, same = KEY, bytes(range(OVERHEAD_BYTES + 20))
    plain = tags_of([(5, same)] * 8, key, way)
    assert len(set(plain)) == 1
    for lane in range(8):
        for at in (*range(24), *range(OVERHEAD_BYTES, OVERHEAD_BYTES + 16)):
            other = bytearray(same)
            other[at] ^= 1
            packets: list[Covered] = [(5, same)] * 8
            packets[lane] = (5, bytes(other))
            found = tags_of(packets, key, way)
            assert [i for i in range(8) if found[i] != plain[i]] == [lane]


def test_the_scalar_way_is_always_there() -> None:
    assert ways()[0] == "scalar"
    assert tags_of([], KEY, "scalar") == []


@pytest.mark.parametrize(
    ("packets", "key", "way"),
    [
        ([(0, bytes(47))], KEY, "scalar"),
        ([(0, bytes(48))] * 65, KEY, "scalar"),
        ([(0, bytes(48))], KEY[:15], "scalar"),
        ([(0, bytes(48))], KEY, "neon"),
    ],
)
def test_what_no_tag_can_be_made_of_is_refused(
    packets: list[Covered], key: bytes, way: str
) -> None:
    with pytest.raises(ValueError, match="at least 48"):
        tags_of(packets, key, way)
