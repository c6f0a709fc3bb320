"""Which controller paces a link: by configuration, and by what the other end can tell of arrivals.

The configured rate of a link is its ceiling; the controllers themselves are in fastpath/rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fastpath.rate import RateConfig, RateKind

if TYPE_CHECKING:
    from relay.config import NodeLinkRate, ViewerRate

KINDS = {"gcc": RateKind.GCC, "nada": RateKind.NADA}
LOSS_ONLY, FIXED = "loss_only", "fixed"


class LinkController(NamedTuple):
    """As the engine takes it. None stands for no controller: a fixed rate."""

    kind: RateKind
    rate: RateConfig


def node_link_controller(rate: NodeLinkRate, ceiling_bps: int) -> LinkController | None:
    """Of a link to a neighbour, whose reports tell of each packet."""
    if rate.controller == FIXED:
        return None
    start_bps = ceiling_bps if rate.start_bps is None else min(rate.start_bps, ceiling_bps)
    return LinkController(
        KINDS[rate.controller],
        RateConfig(min_bps=min(rate.min_bps, ceiling_bps), start_bps=start_bps),
    )


def viewer_controller(
    rate: ViewerRate, ceiling_bps: int, *, tells_packets: bool, tells_reports: bool
) -> LinkController | None:
    """Of a viewer that returns transport-wide feedback, or receiver reports, or nothing.

    By receiver reports alone nothing is found out but loss: such a viewer starts at the ceiling.
    """
    min_bps = min(rate.min_bps, ceiling_bps)
    if tells_packets and rate.controller in KINDS:
        start_bps = min(rate.start_bps, ceiling_bps)
        return LinkController(
            KINDS[rate.controller], RateConfig(min_bps=min_bps, start_bps=start_bps)
        )
    if tells_reports and rate.controller != FIXED:
        return LinkController(
            RateKind.LOSS_ONLY, RateConfig(min_bps=min_bps, start_bps=ceiling_bps)
        )
    return None
