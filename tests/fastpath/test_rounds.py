"""A worker with far more to send than it can hears what comes all the same (about 4 s)."""

from __future__ import annotations

import pytest

from fastpath import PortKind
from fastpath.events import LinkDown
from tests.support.chain import key_slice, other_slice, rtp
from tests.support.worker import Pair, send_segments, udp_socket, wait_until

pytestmark = pytest.mark.integration

VIEWERS = 256
PACKET_BYTES = 1200
GOP, BURST = 3_000, 50


class Crowded(Pair):
    """The second worker holds one long GoP, which every viewer is to be sent whole."""

    def __init__(self) -> None:
        super().__init__(cursors=VIEWERS + 1, viewer_links=VIEWERS)
        self.cursors: list[int] = []

    def fill(self) -> None:
        """Numbers of the encoder wrap."""
        stream, sent = self.second_stream, 0
        with udp_socket() as sender:
            while sent < GOP:
                packets: list[bytes] = []
                for number in range(65_000 + sent, 65_000 + sent + BURST):
                    head = other_slice() if sent or packets else key_slice()
                    body = head + bytes(PACKET_BYTES - 12 - len(head))
                    packets.append(rtp(number, number * 3000, body, marker=True))
                send_segments(sender, b"".join(packets), PACKET_BYTES, self.ingest)
                sent += BURST
                assert wait_until(
                    lambda sent=sent: self.second.engine.stream_stats(stream).packets == sent  # type: ignore[misc]
                )

    def crowd(self, address: tuple[str, int], rate_bps: int) -> None:
        self.cursors = [self.add_viewer(address, rate_bps=rate_bps) for _ in range(VIEWERS)]
        stats = self.second.engine.cursor_stats
        assert wait_until(lambda: all(stats(cursor).packets for cursor in self.cursors), 60)

    def left(self) -> int:
        """Packets that viewers have not been sent yet."""
        stats = self.second.engine.cursor_stats
        return sum(stats(cursor).lag_packets for cursor in self.cursors)


def test_viewers_who_come_together_do_not_make_a_worker_deaf() -> None:
    """Each is sent at 200 Mbit/s, all together at more than any worker sends."""
    with udp_socket() as nobody, udp_socket() as stranger, Crowded() as pair:
        engine = pair.second.engine
        port, address = pair.second.open(PortKind.OVERLAY)
        pair.fill()
        pair.crowd(nobody.getsockname(), 200_000_000)
        before = pair.left()
        assert before > VIEWERS * GOP // 2
        stranger.sendto(b"?", address)
        assert wait_until(lambda: engine.verdicts()["truncated"] == 1)
        assert pair.left() > before // 2
        engine.close_port(port)


def test_a_link_is_not_down_because_its_packets_had_to_wait() -> None:
    """Each viewer is sent the whole GoP at once, which takes longer than three probes together."""
    with udp_socket() as nobody, Crowded() as pair:
        pair.fill()
        pair.crowd(nobody.getsockname(), 100_000_000_000)
        assert wait_until(lambda: pair.left() == 0, 60)
        assert not [event for event in pair.second.take_events() if isinstance(event, LinkDown)]
        assert pair.is_linked()
