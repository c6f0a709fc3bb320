"""What several trials of one relay at one rate say together."""

from __future__ import annotations

import numpy as np

from bench.support.delay import Delays
from bench.support.measure import median
from bench.support.native import native
from bench.support.relays import Sent
from bench.support.rig import Trial


def trial(cpu_us: float, limited_by: str | None = None) -> Trial:
    buckets = np.zeros(native().lib.bench_delay_buckets(), np.uint64)
    buckets[round(cpu_us)] = 100
    return Trial(
        packets_out=1_000,
        pps_out=1_000.0,
        cpu_us_per_packet_out=cpu_us,
        loss=0.0,
        sent=Sent(1_000, 100, (0, 0, 0, 0, 100, 0, 0)),
        cpu_share=0.1,
        limited_by=limited_by,
        delays=Delays(buckets),
    )


def test_the_middle_one_counts_and_delays_of_all() -> None:
    found = median([trial(3), trial(1), trial(2)])
    assert found.cpu_us_per_packet_out == 2
    assert found.cpu_us_range == (1, 3)
    assert found.passed
    assert found.delays.samples == 300
    assert (found.sent.packets, found.sent.batches, found.sent.sizes[4]) == (3_000, 300, 300)


def test_a_disturbed_trial_is_left_out() -> None:
    found = median([trial(1), trial(9, "relay"), trial(2)])
    assert found.cpu_us_per_packet_out == 1.5
    assert found.cpu_us_range == (1, 2)
    assert found.passed
    assert found.delays.samples == 200


def test_a_rate_that_mostly_fails_has_failed() -> None:
    found = median([trial(1), trial(9, "sink"), trial(8, "relay")])
    assert not found.passed
    assert found.limited_by == "sink"
    assert found.cpu_us_per_packet_out == 8
