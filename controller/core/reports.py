"""Reports as measurements: from the messages' units and directions to those of the view.

Kept for people: each node's last load, how each link was last used, and how each broadcast came in
over its last hop, which `explain` puts together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from control_client.messages import LinkReport, Report, StreamReport
from controller.core.members import Member
from controller.discovery import LinkMeasurement, NetworkView, NodeReport
from controller.discovery.measurements import MAX_RTT_US


class Reports:
    """Of all nodes."""

    def __init__(self, view: NetworkView) -> None:
        self.alarms = 0
        self._view = view
        self._hops: dict[str, dict[str, StreamReport]] = {}
        self._links: dict[str, dict[str, LinkReport]] = {}

    def on_report(self, member: Member, report: Report, now_us: int) -> None:
        """A node's view of itself and its links."""
        name, load = member.name, report.load
        member.load = load
        self.alarms += report.is_alarm
        links = tuple(_measurement(link) for link in report.links if link.neighbour != name)
        measured = NodeReport(
            node=name,
            cpu=min(1.0, load.cpu_permille / 1000),
            memory=min(1.0, load.memory_permille / 1000),
            streams=load.streams,
            stream_limit=max(1, member.capacity.streams),
            links=links,
        )
        self._view.on_report(measured, now_us)
        self._links.setdefault(name, {}).update((link.neighbour, link) for link in report.links)
        if report.is_alarm:  # it need not list what has not changed
            self._hops.setdefault(name, {}).update((s.broadcast, s) for s in report.streams)
        else:
            self._hops[name] = {stream.broadcast: stream for stream in report.streams}

    def on_lost(self, name: str) -> None:
        self._hops.pop(name, None)
        self._links.pop(name, None)

    def rate_bps(self, sender: str, receiver: str) -> int | None:
        """What the sender last said it sends there; None: nothing."""
        link = self._links.get(sender, {}).get(receiver)
        return link.rate_bps if link is not None and link.is_up else None

    def hops(
        self, broadcast: str, nodes: tuple[str, ...]
    ) -> Iterator[tuple[str, str, StreamReport | None]]:
        """Sender, receiver, and what the receiver last counted of that; None if it has not."""
        for sender, receiver in pairwise(nodes):
            report = self._hops.get(receiver, {}).get(broadcast)
            is_of_hop = report is not None and report.upstream == sender
            yield sender, receiver, report if is_of_hop else None


def _measurement(link: LinkReport) -> LinkMeasurement:
    """A link that is down has no round trip; one below the clock's grain has the shortest."""
    return LinkMeasurement(
        peer=link.neighbour,
        rtt_us=min(max(link.rtt_us, 1), MAX_RTT_US) if link.is_up else None,
        loss=link.loss_ppm / 1_000_000,
        utilisation=min(1.0, link.utilisation_permille / 1000),
    )
