"""The access link of a player: an emulated path to each of its ports, and what crossed them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lab.link import LinkConfig
from lab.timer_fd import now_us
from lab.udp_link import Direction, UdpLink
from tests.support.recordings import Datagram, write_pcap

NODE = 1  # as a port, in what is kept


@dataclass(slots=True)
class Access:
    """sent: by the node. delivered: to the player. answers: of the player, to the node."""

    links: list[UdpLink] = field(default_factory=list)
    sent: list[Datagram] = field(default_factory=list)
    delivered: list[Datagram] = field(default_factory=list)
    answers: list[Datagram] = field(default_factory=list)

    async def open(self, ports: list[int], node: int, path: LinkConfig, seed: int) -> None:
        """Between the node's port for viewers and each of the player's."""
        back = LinkConfig(delay_us=path.delay_us, jitter_us=path.jitter_us)
        for at, port in enumerate(ports):
            link = await UdpLink.open(
                a=("127.0.0.1", node),
                b=("127.0.0.1", port),
                config_ab=path,
                config_ba=back,
                seed=seed + at,
            )
            self.links.append(link)
            self._watch(link, port)

    def _watch(self, link: UdpLink, port: int) -> None:
        def on_sent(direction: Direction, data: bytes) -> None:
            if direction == "ab":
                self.sent.append(Datagram(now_us(), NODE, port, data))

        def on_delivered(direction: Direction, data: bytes) -> None:
            if direction == "ab":
                self.delivered.append(Datagram(now_us(), NODE, port, data))
            else:
                self.answers.append(Datagram(now_us(), port, NODE, data))

        link.tap(on_sent=on_sent, on_delivered=on_delivered)

    @property
    def lost(self) -> int:
        counted = [link.counters().a_to_b.link for link in self.links]
        return sum(each.lost + each.queue_dropped for each in counted)

    def write(self, directory: Path) -> None:
        (directory / "sent.pcap").write_bytes(write_pcap(self.sent))
        (directory / "delivered.pcap").write_bytes(write_pcap(self.delivered + self.answers))

    def close(self) -> None:
        for link in self.links:
            link.close()
