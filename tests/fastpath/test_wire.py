"""The overlay header by byte offset, what parsing refuses, and what the tag covers."""

import pytest

from fastpath import wire
from lab.link import LinkConfig
from tests.support.chain import STREAM_ID, Chain, key, key_slice, rtp
from tests.support.peer import MEDIA, PROBE, SEALED, header

KEY = key("tag")
TAG = bytes(8)
WIDE, DESTINATION, REPAIR = 1, 32, 4
REPAIR_TO = 0xAABBCCDD


def parsed(data: bytes) -> dict[str, int]:
    found = wire.parse(data)
    assert isinstance(found, dict), found
    return found


def test_each_field_is_read_from_its_own_bytes() -> None:
    data = bytes(
        [
            0xC2,  # version 12, type 2 (probe)
            0x02,  # flags: sealed
            0x00,  # no segments
            0x07,  # hop limit
            0x5A,  # class 2 (video), marks 0x1A
            0x09,  # epoch
            *(0x01, 0x02),  # delay
            *(0x11, 0x12, 0x13, 0x14),  # stream_id
            *(0x21, 0x22, 0x23, 0x24),  # stream_seq
            *(0x31, 0x32, 0x33, 0x34),  # hop_seq
            *(0x41, 0x42, 0x43, 0x44),  # send_ts
        ]
    )
    assert parsed(data + TAG) == {
        "type": PROBE,
        "flags": SEALED,
        "left": 0,
        "count": 0,
        "hop_limit": 7,
        "traffic_class": 2,
        "marks": 0x1A,
        "epoch": 9,
        "delay": 0x0102,
        "stream_id": 0x11121314,
        "stream_seq": 0x21222324,
        "hop_seq": 0x31323334,
        "send_ts": 0x41424344,
        "repairs_hop_seq": 0,
        "header_bytes": 24,
    }


@pytest.mark.parametrize(
    ("flags", "count", "header_bytes"),
    [
        (0, 0, 24),
        (0, 6, 24 + 12),
        (WIDE, 6, 24 + 24),
        (WIDE, 0, 24),
        (DESTINATION, 0, 44),
        (REPAIR, 0, 28),
        (DESTINATION | REPAIR, 2, 24 + 4 + 20 + 4),
        (WIDE | DESTINATION | REPAIR, 6, 24 + 24 + 20 + 4),
    ],
)
def test_header_grows_by_what_flags_and_count_announce(
    flags: int, count: int, header_bytes: int
) -> None:
    rest = bytes(header_bytes - 24)
    if flags & REPAIR:
        rest = rest[:-4] + REPAIR_TO.to_bytes(4)
    data = header(flags=flags, count=count, left=count, rest=rest) + TAG
    found = parsed(data)
    assert found["header_bytes"] == header_bytes
    assert found["repairs_hop_seq"] == (REPAIR_TO if flags & REPAIR else 0)
    assert (found["left"], found["count"]) == (count, count)
    for size in range(len(data)):
        assert wire.parse(data[:size]) == "TRUNCATED"


def test_other_versions_are_refused() -> None:
    rest = header()[1:] + TAG
    for first in range(256):
        found = wire.parse(bytes([first]) + rest)
        if first >> 4 != 12:
            assert found == "WRONG_VERSION"
        elif first & 15 > 6:
            assert found == "UNKNOWN_TYPE"
        else:
            assert isinstance(found, dict)


@pytest.mark.parametrize(("left", "count"), [(1, 0), (3, 2), (7, 6), (0, 7), (7, 7), (15, 15)])
def test_impossible_routes_are_malformed(left: int, count: int) -> None:
    assert wire.parse(header(left=left, count=count, rest=bytes(64)) + TAG) == "MALFORMED"


def test_a_leg_of_the_engine_carries_its_fields() -> None:
    chain = Chain([LinkConfig(delay_us=5000)], first_seq=0xFFFFFFFF)
    legs: list[bytes] = []

    def collect(_source: object, _destination: object, data: bytes) -> bool:
        if data[0] == 0xC0:
            legs.append(data)
        return False

    chain.drop = collect
    chain.run(200_000)
    before = chain.nodes[0].engine.link_stats(chain.nodes[0].links["down"]).sent_packets
    packet = rtp(65535, 0xFFFFFFFF, key_slice(bytes(300)), marker=True)
    chain.encode(packet)
    (leg,) = legs
    found = parsed(leg)
    assert leg[32:] == packet
    assert found == {
        "type": MEDIA,
        "flags": 0,
        "left": 0,
        "count": 0,
        "hop_limit": 8,
        "traffic_class": 2,
        "marks": found["marks"],
        "epoch": 0,
        "delay": chain.nodes[0].engine.link_stats(chain.nodes[0].links["down"]).rtt_us // 2 // 250,
        "stream_id": STREAM_ID,
        "stream_seq": 0xFFFFFFFF,
        "hop_seq": before + 2,  # the clock of the stream goes before its first packet
        "send_ts": chain.now_us,
        "repairs_hop_seq": 0,
        "header_bytes": 24,
    }
    assert found["delay"] > 0
    assert int.from_bytes(leg[24:32]) == wire.tag(leg[:24], packet, key("left0"))


def flips(data: bytes, bits: int) -> list[bytes]:
    """`data` with one of its first bits flipped, each in turn."""
    whole = int.from_bytes(data)
    return [(whole ^ 1 << (8 * len(data) - 1 - bit)).to_bytes(len(data)) for bit in range(bits)]


def test_tag_of_media_covers_header_length_and_first_16_payload_bytes() -> None:
    head, payload = header(), bytes(range(40))
    expected = wire.tag(head, payload, KEY)
    changed = {wire.tag(other, payload, KEY) for other in flips(head, 8 * len(head))}
    changed |= {wire.tag(head, other, KEY) for other in flips(payload, 128)}
    changed |= {wire.tag(head, payload + bytes(n), KEY) for n in range(1, 9)}
    changed |= {wire.tag(head, payload[:-n], KEY) for n in range(1, 9)}
    changed |= {wire.tag(head, payload, KEY, 1 << bit) for bit in range(32)}
    changed |= {wire.tag(head, payload, other) for other in flips(KEY, 128)}
    assert expected not in changed
    assert len(changed) == 192 + 128 + 8 + 8 + 32 + 128
    # What lies behind is not covered: relays need not read it.
    assert wire.tag(head, payload[:16] + bytes(24), KEY) == expected


def test_tag_of_sealed_media_covers_the_last_16_payload_bytes() -> None:
    head, payload = header(flags=SEALED), bytes(range(40))
    expected = wire.tag(head, payload, KEY)
    tail = {wire.tag(head, payload[:24] + other, KEY) for other in flips(payload[24:], 128)}
    assert len(tail) == 128
    assert expected not in tail
    assert wire.tag(head, bytes(24) + payload[24:], KEY) == expected


@pytest.mark.parametrize("kind", [1, 2, 3, 5, 6])
def test_tag_of_other_types_covers_the_whole_payload(kind: int) -> None:
    head, payload = header(kind=kind), bytes(range(200))
    expected = wire.tag(head, payload, KEY)
    changed = {wire.tag(head, other, KEY) for other in flips(payload, 8 * len(payload))}
    assert len(changed) == 1600
    assert expected not in changed


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17])
def test_tag_of_short_payloads(size: int) -> None:
    payload = bytes(range(1, size + 1))
    expected = wire.tag(header(), payload, KEY)
    changed = {wire.tag(header(), other, KEY) for other in flips(payload, 8 * min(size, 16))}
    assert len(changed) == 8 * min(size, 16)
    assert expected not in changed
