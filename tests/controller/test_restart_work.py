"""A restarted brain has its state back in a small part of what it took to gather it.

The work is counted in Python function calls, which are the same on every machine and under every
load; times are in `bench/brain_restart.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bench.support.large_overlay import LargeOverlay, S, drain


class _Calls:
    def __init__(self) -> None:
        self.count = 0

    def profile(self, _frame: FrameType, event: str, _argument: object) -> None:
        self.count += event == "call"


@contextmanager
def counted_calls() -> Iterator[_Calls]:
    calls = _Calls()
    before = sys.getprofile()
    sys.setprofile(calls.profile)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def test_loading_a_state_is_little_work_beside_gathering_it() -> None:
    overlay = LargeOverlay(nodes=150, streams=2_000)
    with counted_calls() as gathering:
        brain = overlay.brain(1, None, 0)
        connections = overlay.join(brain, None, 0)
        drain(brain)
        overlay.report(brain, connections, S)
        brain.handle_timer(2 * S)
        drain(brain)
    state = brain.state()
    with counted_calls() as loading:
        again = overlay.brain(2, state, 10 * S)
        report = again.explain("s0", "n1")
    assert report is not None
    assert report.kind == "ordinary"
    before = {stream.name: (stream.producer, stream.tracks) for stream in brain.streams()}
    assert {s.name: (s.producer, s.tracks) for s in again.streams()} == before
    assert len(before) == 2_000
    assert loading.count < gathering.count / 10
