"""An engine with many streams and viewers, fed by one neighbour in virtual time."""

from __future__ import annotations

from fastpath import Engine, Media, PortKind
from tests.support.chain import key, key_slice, rtp
from tests.support.peer import header, seal

PEER = ("10.0.0.2", 7000)
FIRST_SEQ = 0xFFFFFFFF  # the second packet of each stream is number 0
FIRST_NUMBER = 65_535
KEY_FRAME = 1 | 2 | 4 | 16
FAST_BPS = 100_000_000_000


def resident_bytes() -> int:
    """Of this process (proc(5), smaps_rollup: exact, where VmRSS is counted in batches)."""
    with open("/proc/self/smaps_rollup") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("Rss"))


def viewer_address(number: int) -> tuple[str, int]:
    return f"10.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", 5004


class Crowd:
    """Streams from PEER. What each step adds is told by its name."""

    def __init__(self, *, streams: int, viewers: int, slab_bytes: int = 16 << 20) -> None:
        self.engine = Engine(
            streams=streams,
            cursors=viewers,
            node_links=1,
            viewer_links=viewers,
            ports=2,
            slab_bytes=slab_bytes,
        )
        self.now_us = 1_000_000
        self.hop_seq = 0
        self.port = self.engine.open_port(PortKind.OVERLAY)
        self.viewer_port = self.engine.open_port(PortKind.VIEWER)
        self.up = self.engine.add_link(
            port=self.port,
            address=PEER,
            peer_node=2,
            hello_key=key("hello"),
            rate_bps=FAST_BPS,
        )
        self.engine.offer_keys(self.up, receive_key=key("in"), send_key=key("out"), send_now=True)
        self.turn()

    def turn(self, datagrams: list[bytes] | None = None, after_us: int = 10) -> list[bytes]:
        """What viewers were sent."""
        self.now_us += after_us
        arrived = [(self.port, PEER, data) for data in datagrams or []]
        sent = self.engine.turn(self.now_us, arrived)
        self.engine.events()
        return [data for _, _, data in sent if data[0] >> 6 == 2]

    def add_stream(self, number: int, media: Media = Media.VIDEO) -> int:
        return self.engine.add_stream(
            stream_id=number + 1, media=media, first_stream_seq=FIRST_SEQ, upstream=self.up
        )

    def add_viewer(self, stream: int, number: int, rate_bps: int = FAST_BPS) -> tuple[int, int]:
        """Its link and cursor."""
        link = self.engine.add_viewer_link(rate_bps=rate_bps)
        cursor = self.engine.add_viewer_cursor(
            stream=stream,
            link=link,
            port=self.viewer_port,
            address=viewer_address(number),
            ssrc=number,
            payload_type=100,
            first_sequence_number=FIRST_NUMBER,
        )
        return link, cursor

    def packet(self, number: int, index: int, *, size: int = 300, hop_seq: int = 0) -> bytes:
        """Packet `index` (from 0) of a stream, a key frame of its own."""
        if hop_seq == 0:
            self.hop_seq += 1
        head = header(
            stream_id=number + 1,
            stream_seq=FIRST_SEQ + index,
            hop_seq=hop_seq or self.hop_seq,
            marks=KEY_FRAME,
        )
        return seal(head, rtp(index, 3_000 * index, key_slice(bytes(size))), key("in"))
