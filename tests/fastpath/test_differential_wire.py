"""The header and its tag, native and in plain Python, on the same random bytes."""

import random
from dataclasses import asdict

from fastpath import wire
from fastpath.reference.wire import Flag, Header, parse, tag
from fastpath.siphash import digest

SEED = 20_261_121
FIELD_BITS = {
    "type": 4,
    "flags": 6,
    "left": 3,
    "count": 3,
    "hop_limit": 8,
    "traffic_class": 3,
    "marks": 5,
    "epoch": 8,
    "delay": 16,
    "stream_id": 32,
    "stream_seq": 32,
    "hop_seq": 32,
    "send_ts": 32,
    "repairs_hop_seq": 32,
}


def assert_alike(data: bytes) -> None:
    native, twin = wire.parse(data), parse(data)
    if isinstance(twin, str):
        assert native == twin.upper(), data.hex()
    else:
        assert native == asdict(twin) | {"header_bytes": twin.header_bytes}, data.hex()


def random_header(draw: random.Random) -> Header:
    """Any fields, possible or not."""
    return Header(**{name: draw.getrandbits(bits) for name, bits in FIELD_BITS.items()})


def test_parsing_agrees_on_whole_cut_and_changed_headers() -> None:
    draw = random.Random(SEED)
    for _ in range(3_000):
        data = random_header(draw).pack() + draw.randbytes(draw.randrange(20))
        assert_alike(data)
        assert_alike(data[: draw.randrange(len(data) + 1)])
        changed = bytearray(data)
        changed[draw.randrange(len(changed))] = draw.randrange(256)
        assert_alike(bytes(changed))


def test_what_the_twin_packs_the_native_parser_reads() -> None:
    draw = random.Random(SEED)
    read = 0
    for _ in range(3_000):
        header = random_header(draw)
        found = wire.parse(header.pack() + bytes(8))
        if isinstance(found, dict):
            read += 1
            repairs = header.repairs_hop_seq if header.flags & Flag.REPAIR else 0
            expected = asdict(header) | {"repairs_hop_seq": repairs}
            assert found == expected | {"header_bytes": header.header_bytes}, f"seed {SEED}"
    assert read > 300


def test_tags_agree() -> None:
    draw = random.Random(SEED)
    for _ in range(400):
        header = random_header(draw).pack()[:64]
        payload, key = draw.randbytes(draw.choice((0, 1, 15, 16, 17, 60, 1436))), draw.randbytes(16)
        hop_seq = draw.choice((1, (1 << 32) - 1, 1 << 32, draw.getrandbits(64)))
        native = wire.tag(header, payload, key, hop_seq >> 32).to_bytes(8)
        assert native == tag(header, payload, key, hop_seq), f"seed {SEED}"
        assert native == tag(header, payload, key, hop_seq, digest)
