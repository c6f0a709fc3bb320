"""What a node lets go is freed without the collector, which no longer looks at what lasts."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from relay.edge.plain_rtp import Leg, Viewer
from relay.qoe import View
from relay.slowpath.broadcast import Broadcast, NodeSubscriber
from relay.slowpath.upstream import UpstreamSubscription
from relay.stream import Stream
from tests.relay.routed_overlay import Routed, watched

KINDS = (Viewer, Leg, View, Broadcast, NodeSubscriber, UpstreamSubscription, Stream)
SCRIPT = """
import gc
from relay.collector import spare_what_lasts
kept = [[n] for n in range(50_000)]
spare_what_lasts()
most = []
gc.callbacks.append(lambda phase, info: most.append((info["generation"], gc.get_count())))
frozen = gc.get_freeze_count()
assert frozen >= 50_000
kept += [[n] for n in range(50_000)]
assert any(generation == 2 for generation, _ in most)
assert gc.get_freeze_count() >= frozen + 25_000
"""


def alive() -> Counter[str]:
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, KINDS))


def test_viewers_and_broadcasts_come_and_go_without_a_collection() -> None:
    overlay = Routed()
    overlay.join({"ab": 10_000, "bc": 10_000, "ad": 15_000, "cd": 15_000})
    overlay.paths["c"] = (("b", "a"), ("d", "a"))
    encoder, viewer = watched(overlay)
    node = overlay.nodes["c"].node
    node.remove_viewer(viewer, overlay.now_us)
    del viewer
    encoder.run_for(6_000_000)
    gc.collect()
    before = alive()
    gc.disable()
    try:
        for number in range(3):
            joined = [overlay.watch("c", is_premium=n == number) for n in range(4)]
            encoder.run_for(1_000_000)
            while joined:
                node.remove_viewer(joined.pop(), overlay.now_us)
            encoder.run_for(6_000_000)
        assert alive() == before
    finally:
        gc.enable()


def test_what_outlives_a_collection_is_not_looked_at_again() -> None:
    """In a process of its own, as it is for the whole process."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, timeout=60)
