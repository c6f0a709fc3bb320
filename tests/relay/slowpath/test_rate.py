"""Which controller a link gets: by what is configured, and by what the other end can tell."""

from __future__ import annotations

import pytest

from fastpath.rate import RateKind
from relay.config import NodeLinkRate, ViewerRate
from relay.slowpath.rate import node_link_controller, viewer_controller

CEILING_BPS = 20_000_000


@pytest.mark.parametrize(
    ("configured", "by_packets", "by_reports", "by_nothing"),
    [
        ("gcc", RateKind.GCC, RateKind.LOSS_ONLY, None),
        ("nada", RateKind.NADA, RateKind.LOSS_ONLY, None),
        ("loss_only", RateKind.LOSS_ONLY, RateKind.LOSS_ONLY, None),
        ("fixed", None, None, None),
    ],
)
def test_viewers_get_the_best_that_they_can_tell_enough_for(
    configured: str,
    by_packets: RateKind | None,
    by_reports: RateKind | None,
    by_nothing: RateKind | None,
) -> None:
    rate = ViewerRate.model_validate({"controller": configured})
    for packets, reports, expected in (
        (True, True, by_packets),
        (False, True, by_reports),
        (False, False, by_nothing),
    ):
        found = viewer_controller(rate, CEILING_BPS, tells_packets=packets, tells_reports=reports)
        assert (found.kind if found else None) == expected


def test_limits_stay_below_the_ceiling() -> None:
    low = viewer_controller(ViewerRate(), 200_000, tells_packets=True, tells_reports=True)
    assert low is not None
    assert (low.rate.min_bps, low.rate.start_bps) == (200_000, 200_000)
    by_loss = viewer_controller(ViewerRate(), CEILING_BPS, tells_packets=False, tells_reports=True)
    assert by_loss is not None
    assert by_loss.rate.start_bps == CEILING_BPS


def test_node_links_begin_at_the_ceiling_unless_told() -> None:
    assert node_link_controller(NodeLinkRate(), CEILING_BPS) is None
    found = node_link_controller(NodeLinkRate(controller="gcc"), CEILING_BPS)
    assert found is not None
    assert (found.kind, found.rate.start_bps) == (RateKind.GCC, CEILING_BPS)
    told = NodeLinkRate(controller="nada", start_bps=2_000_000)
    found = node_link_controller(told, CEILING_BPS)
    assert found is not None
    assert (found.kind, found.rate.start_bps) == (RateKind.NADA, 2_000_000)
