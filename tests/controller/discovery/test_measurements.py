"""What a report may say."""

import math

import pytest

from controller.discovery import LinkMeasurement, NodeReport
from controller.errors import InvalidMeasurementError


@pytest.mark.parametrize(
    ("cpu", "memory", "streams", "load"),
    [(0.5, 0.2, 10, 0.5), (0.1, 0.6, 10, 0.6), (0.1, 0.2, 70, 0.7), (0.1, 0.2, 300, 1.0)],
)
def test_load_is_the_scarcest_resource(
    cpu: float, memory: float, streams: int, load: float
) -> None:
    assert NodeReport("a", cpu, memory, streams, stream_limit=100).load == load


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_shares_outside_0_to_1_are_refused(value: float) -> None:
    with pytest.raises(InvalidMeasurementError, match="loss"):
        LinkMeasurement("b", 1_000, loss=value)
    with pytest.raises(InvalidMeasurementError, match="utilisation"):
        LinkMeasurement("b", 1_000, utilisation=value)
    with pytest.raises(InvalidMeasurementError, match="cpu"):
        NodeReport("a", value, 0.0, 0, 1)
    with pytest.raises(InvalidMeasurementError, match="memory"):
        NodeReport("a", 0.0, value, 0, 1)


def test_other_ranges() -> None:
    for rtt_us in (0, -1, 60_000_001):
        with pytest.raises(InvalidMeasurementError, match="rtt_us"):
            LinkMeasurement("b", rtt_us)
    with pytest.raises(InvalidMeasurementError, match="streams"):
        NodeReport("a", 0.0, 0.0, -1, 1)
    with pytest.raises(InvalidMeasurementError, match="stream_limit"):
        NodeReport("a", 0.0, 0.0, 0, 0)
    assert LinkMeasurement("b", None).rtt_us is None
