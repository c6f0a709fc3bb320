"""How long until a restarted brain has its state back, and what do tables for all nodes cost?

One core: a brain of 30 to 600 nodes in a full mesh with some 2,000 broadcasts saves its state; a
new one loads it, and is asked for a path. Then all nodes come back and get their tables, in one
turn. JSON on stdout.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from bench.support.large_overlay import LargeOverlay, S, drain
from control_client.messages import TableVersion

T = TypeVar("T")
SIZES = [30, 100, 300, 600]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds on the clock, and the result."""
    began = time.perf_counter()
    result = work()
    return round(time.perf_counter() - began, 4), result


def measure(nodes: int, streams: int) -> dict[str, float]:
    overlay = LargeOverlay(nodes, streams)
    now_us = 1_000 * S
    brain = overlay.brain(1, None, now_us)
    connections = overlay.join(brain, None, now_us)
    tables_s, _ = timed(lambda: drain(brain))
    overlay.report(brain, connections, now_us)
    now_us += 2 * S
    brain.handle_timer(now_us)
    drain(brain)
    save_s, state = timed(brain.state)
    now_us += 10 * S
    load_s, again = timed(lambda: overlay.brain(2, state, now_us))
    answer_s, report = timed(lambda: again.explain("s0", "n1"))
    assert report is not None
    assert report.kind == "ordinary"
    assert again.status().streams == streams
    overlay.join(again, TableVersion(1, 1), now_us)
    return_s, _ = timed(lambda: drain(again))
    return {
        "state_bytes": len(state),
        "save_s": save_s,
        "load_s": load_s,
        "load_to_first_path_s": round(load_s + answer_s, 4),
        "first_tables_s": tables_s,
        "tables_of_all_after_restart_s": return_s,
    }


def main(
    nodes: Annotated[list[int] | None, typer.Option(help="How many; repeat.")] = None,
    streams: Annotated[int, typer.Option(help="How many broadcasts.")] = 2_000,
) -> None:
    """Measure a restart at each size."""
    report = {
        "question": "How long until a restarted brain has its state back?",
        "environment": environment(),
        "streams": streams,
        "by_nodes": {str(size): measure(size, streams) for size in nodes or SIZES},
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
