"""Packets that arrive in one coalesced buffer: tags made ahead of time must never outlive what they
assumed, and each packet keeps its own verdict. Real sockets, since only the kernel joins datagrams.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from fastpath import Media, PortKind, wire
from fastpath.events import LinkKeyed
from tests.support.chain import STREAM_ID, key
from tests.support.worker import Worker, send_segments, udp_socket, wait_until

OVERLAY, MEDIA, PROBE = 0xC0, 0, 2
PAYLOAD_BYTES = 100
PACKET_BYTES = 32 + PAYLOAD_BYTES
MINE, FIRST, SECOND = key("mine"), key("first"), key("second")


def packet(
    seq: int,
    hop_seq: int,
    *,
    under: bytes = FIRST,
    kind: int = MEDIA,
    payload_bytes: int = PAYLOAD_BYTES,
) -> bytes:
    """A packet of the stream with a valid tag; `hop_seq` with its high half."""
    head = struct.pack(
        ">BBBBBBHIIII",
        *(OVERLAY | kind, 0, 0, 8, 2 << 5, 0, 0),
        *(STREAM_ID, seq & 0xFFFFFFFF, hop_seq & 0xFFFFFFFF, 0),
    )
    payload = struct.pack(">BBHII", 0x80, 96, seq & 0xFFFF, 0, 1).ljust(payload_bytes, b"x")
    tag = wire.tag(head, payload, under, hop_seq >> 32)
    return head + tag.to_bytes(8) + payload


class Receiver:
    """A worker with one link, from `sender`, and one stream that comes over it."""

    def __init__(self, *, first_hop_seq: int = 1, first_seq: int = 1) -> None:
        self.worker, self.sender = Worker(), udp_socket()
        self.engine = self.worker.engine
        port, self.address = self.worker.open(PortKind.OVERLAY)
        self.link = self.engine.add_link(
            port=port,
            address=self.sender.getsockname(),
            peer_node=2,
            hello_key=key("hello"),
            rate_bps=1_000_000_000,
        )
        self.offer(FIRST, first_hop_seq)
        self.stream = self.engine.add_stream(
            stream_id=STREAM_ID,
            media=Media.VIDEO,
            first_stream_seq=first_seq,
            upstream=self.link,
        )

    def offer(self, receive_key: bytes, first_hop_seq: int = 1) -> None:
        self.engine.offer_keys(
            self.link,
            receive_key=receive_key,
            send_key=MINE,
            send_now=True,
            peer_first_hop_seq=first_hop_seq,
        )

    def give(self, packets: Iterable[bytes], **expected: int) -> None:
        """Send all in one call, and wait until these counters have risen by these numbers."""
        before = self.engine.verdicts()
        send_segments(self.sender, b"".join(packets), PACKET_BYTES, self.address)

        def risen() -> dict[str, int]:
            now = self.engine.verdicts()
            return {name: now[name] - before[name] for name in expected}

        assert wait_until(lambda: risen() == expected), risen()

    def __enter__(self) -> Receiver:
        self.worker.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.worker.__exit__(None, None, None)
        self.sender.close()


def test_any_number_at_once_and_a_shorter_last_one() -> None:
    """Full and partial passes of the lanes, across the wrap of stream_seq."""
    first = 0xFFFFFFF0
    with Receiver(first_seq=first) as receiver:
        sent = 0
        for count in (1, 2, 3, 7, 8, 9, 17, 40):
            packets = [packet(first + i, i + 1) for i in range(sent, sent + count)]
            sent += count + 1
            packets.append(packet(first + sent - 1, sent, payload_bytes=12))
            receiver.give(packets, accepted=count + 1)
        assert receiver.engine.link_stats(receiver.link).lost == 0
        assert receiver.engine.stream_stats(receiver.stream).packets == sent


def test_each_packet_has_its_own_verdict() -> None:
    with Receiver() as receiver:
        receiver.give([packet(1, 1)], accepted=1)
        packets = [packet(i, i) for i in range(2, 32)]
        forged = bytearray(packets[5])
        forged[8] ^= 1
        packets[5] = bytes(forged)
        packets[11] = packets[3]
        packets[17] = packet(19, 19, kind=PROBE)
        packets[23] = bytes(PACKET_BYTES)
        receiver.give(packets, accepted=26, bad_tag=1, replayed=1, probe_taken=1, wrong_version=1)


def test_new_keys_in_the_middle_of_a_buffer() -> None:
    """The first packet under them ends what was made ahead under the old ones."""
    with Receiver() as receiver:
        receiver.give([packet(1, 1)], accepted=1)
        receiver.offer(SECOND)
        old = [packet(i, i) for i in range(2, 13)]
        new = [packet(i, i - 12, under=SECOND) for i in range(13, 33)]
        late = [packet(i, i) for i in range(33, 36)]  # under keys that are no more
        receiver.give([*old, *new, *late], accepted=31, bad_tag=3)
        events = [e for e in receiver.worker.take_events() if isinstance(e, LinkKeyed)]
        assert len(events) == 2


def test_hop_seq_wraps_in_the_middle_of_a_buffer() -> None:
    first = (1 << 32) - 12
    with Receiver(first_hop_seq=first) as receiver:
        receiver.give([packet(1, first)], accepted=1)
        receiver.give([packet(1 + i, first + i) for i in range(1, 31)], accepted=30)
        # Tags with the old high half are no longer good.
        receiver.give([packet(31 + i, 19 + i) for i in range(9)], bad_tag=9)
