"""A restarted brain has its state back in a small part of what it took to gather it.

Both are CPU time of the same run, so no machine is too slow for it; absolute figures are in
`bench/brain_restart.py`.
"""

from __future__ import annotations

import time

from bench.support.large_overlay import LargeOverlay, S, drain


def test_loading_a_state_is_quick_beside_gathering_it() -> None:
    overlay = LargeOverlay(nodes=150, streams=2_000)
    began = time.process_time()
    brain = overlay.brain(1, None, 0)
    connections = overlay.join(brain, None, 0)
    drain(brain)
    overlay.report(brain, connections, S)
    brain.handle_timer(2 * S)
    drain(brain)
    gathering_s = time.process_time() - began
    state = brain.state()
    began = time.process_time()
    again = overlay.brain(2, state, 10 * S)
    report = again.explain("s0", "n1")
    loading_s = time.process_time() - began
    assert report is not None
    assert report.kind == "ordinary"
    before = {stream.name: (stream.producer, stream.tracks) for stream in brain.streams()}
    assert {s.name: (s.producer, s.tracks) for s in again.streams()} == before
    assert len(before) == 2_000
    assert loading_s < gathering_s / 3
