"""The broadcasts that are due are found without looking at the others."""

from __future__ import annotations

from random import Random

from relay.slowpath.broadcast import Broadcast
from relay.slowpath.due import Due, Noting


def test_the_earliest_is_told_whatever_changed() -> None:
    rng = Random(7)
    due = Due()
    held: Noting[str] = Noting(due)
    times: dict[str, int | None] = {}
    for step in range(3_000):
        name = f"b{rng.randrange(20)}"
        if name not in times:
            held[name] = Broadcast(name)
            times[name] = None
        elif rng.random() < 0.1:
            del held[name], times[name]
        else:
            found = held.get(name)
            assert found is not None
            times[name] = found.linger_until_us = rng.choice((None, step + rng.randrange(50)))
        expected = min((t for t in times.values() if t is not None), default=None)
        assert due.next_us() == expected, f"seed 7, step {step}"
        if rng.random() < 0.2:
            late = {n for n, t in times.items() if t is not None and t <= step}
            most = rng.randrange(1, 12)
            taken = due.take(step, most)
            assert len(taken) == min(len(late), most), f"seed 7, step {step}"
            names = {broadcast.name for broadcast in taken}
            assert names <= late
            rest = [times[name] or 0 for name in late - names]
            assert all((times[name] or 0) <= min(rest, default=step) for name in names)
            for broadcast in taken:
                broadcast.linger_until_us = times[broadcast.name] = None
