"""What a node counts as a whole, for Prometheus; its links and streams are in `series`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from relay.control.agent import ControlAgent
from relay.loop_watch import BOUNDS_US as LOOP_BOUNDS_US
from relay.loop_watch import LoopWatch
from relay.node import Node
from relay.qoe import Qoe
from relay.workers import Workers
from service.log import standard_error


class NodeCollector(Collector):
    """One node's metrics, all named overlane_... agent: of a node with a controller. loop_watch: of
    the event loop it runs in."""

    def __init__(
        self, node: Node, agent: Callable[[], ControlAgent | None], loop_watch: LoopWatch | None
    ) -> None:
        self._node = node
        self._agent = agent
        self._loop_watch = loop_watch

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client, once per scrape."""
        yield from self._of_node()
        yield from self._of_memory()
        yield from _of_workers(self._node.engine)
        yield from _of_qoe(self._node.qoe)
        if self._loop_watch is not None:
            yield from _of_loop(self._loop_watch)
        if (agent := self._agent()) is not None:
            yield from _of_control(agent)

    def _of_node(self) -> Iterator[Metric]:
        node = self._node
        info = GaugeMetricFamily("overlane_node", "This node", labels=["name", "node_id"])
        info.add_metric([node.config.name, str(node.config.node_id)], 1)
        yield info
        engine = CounterMetricFamily(
            "overlane_engine", "Packets by verdict, and the engine's other counts", labels=["what"]
        )
        for name, count in node.engine.verdicts().items():
            engine.add_metric([name], count)
        yield engine
        overload = node.engine.overload()
        yield GaugeMetricFamily(
            "overlane_overload_step", "How much is shed now: 0 nothing, 20 all media", overload.step
        )
        episodes = CounterMetricFamily("overlane_overload_episodes", "How often shedding began")
        episodes.add_metric([], overload.episodes)
        yield episodes
        log = CounterMetricFamily(
            "overlane_log_lines_lost", "Lines that standard error did not take"
        )
        log.add_metric([], standard_error.lost_lines)
        yield log
        control = CounterMetricFamily(
            "overlane_control", "Control messages and their faults", labels=["what"]
        )
        for name, count in sorted(node.counters.items()):
            control.add_metric([name], count)
        control.add_metric(["not_expected"], node.subscriptions.rejected)
        yield control
        hello = CounterMetricFamily(
            "overlane_hello_dropped", "HELLOs without effect", labels=["neighbour", "why"]
        )
        for neighbour in node.neighbours.values():
            hello.add_metric([neighbour.name, "malformed"], neighbour.handshake.malformed)
            hello.add_metric([neighbour.name, "ignored"], neighbour.handshake.ignored)
        yield hello
        yield GaugeMetricFamily("overlane_viewers", "Viewers served", value=len(node.edge.viewers))
        fallbacks = GaugeMetricFamily(
            "overlane_fallback", "Kernel features the node does without", labels=["feature"]
        )
        for name in node.engine.fallbacks():
            fallbacks.add_metric([name], 1)
        yield fallbacks

    def _of_memory(self) -> Iterator[Metric]:
        used = GaugeMetricFamily("overlane_memory_used", "Entries in use", labels=["table"])
        limit = GaugeMetricFamily("overlane_memory_limit", "Entries there are", labels=["table"])
        for table, (count, most) in dataclasses.asdict(self._node.engine.memory()).items():
            used.add_metric([table], count)
            limit.add_metric([table], most)
        yield used
        yield limit


def new_registry(
    node: Node,
    agent: Callable[[], ControlAgent | None] = lambda: None,
    loop_watch: LoopWatch | None = None,
) -> CollectorRegistry:
    """A registry of this node alone, so that several fit in one process. loop_watch: of one that
    runs in an event loop."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(node, agent, loop_watch))
    return registry


def _of_qoe(qoe: Qoe) -> Iterator[Metric]:
    """Of the views since the node's start, whoever they were; relay/qoe says what each is."""
    counts = {
        "views": ("Viewers who asked", qoe.views),
        "views_begun": ("Of them, those who were sent a whole frame", qoe.begun),
        "views_fast": ("Whose first whole frame left within 1 s", qoe.fast),
        "views_slow": ("Who waited longer for it, or in vain", qoe.slow),
        "views_stalled": ("Whose player has stalled, as far as this node can tell", qoe.stalled),
        "stalls": ("Stalls of players, as far as this node can tell", qoe.stalls),
    }
    for name, (text, value) in counts.items():
        counter = CounterMetricFamily(f"overlane_{name}", text)
        counter.add_metric([], value)
        yield counter
    stalled = CounterMetricFamily("overlane_stalled_seconds", "How long these lasted")
    stalled.add_metric([], qoe.stalled_us * 1e-6)
    yield stalled
    histograms = {
        "first_packet": ("From the request to the first packet", qoe.first_packet),
        "start_up": ("From the request to the first whole frame", qoe.start_up),
        "cdn_path_delay": ("From the producer to the viewer's side of this node", qoe.path_delay),
        "streaming_delay": ("The same, to the picture: estimated", qoe.streaming_delay),
    }
    for name, (text, histogram) in histograms.items():
        family = HistogramMetricFamily(f"overlane_view_{name}_seconds", text)
        buckets = _buckets(histogram.bounds_us, histogram.counts)
        family.add_metric([], buckets, sum_value=histogram.sum_us / 1e6)
        yield family


def _of_loop(watch: LoopWatch) -> Iterator[Metric]:
    """What Python is late by; media does not wait for it."""
    text = "How late the event loop wakes a task that sleeps 10 ms"
    family = HistogramMetricFamily("overlane_event_loop_delay_seconds", text)
    buckets = _buckets(LOOP_BOUNDS_US, watch.counts)
    family.add_metric([], buckets, sum_value=watch.sum_us / 1e6)
    yield family
    yield GaugeMetricFamily(
        "overlane_event_loop_longest_stall_seconds",
        "The longest of these delays since the start",
        value=watch.longest_us / 1e6,
    )


def _buckets(bounds_us: Sequence[int], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    bounds = [*(str(bound_us / 1e6) for bound_us in bounds_us), "+Inf"]
    return list(zip(bounds, accumulate(map(float, counts)), strict=True))


def _of_workers(workers: Workers) -> Iterator[Metric]:
    """What each does; what it has is in the metrics of the node, summed."""
    cpu = CounterMetricFamily(
        "overlane_worker_cpu_seconds", "CPU time of its thread", labels=["worker"]
    )
    for worker, used_us in enumerate(workers.read_cpu_us()):
        cpu.add_metric([str(worker)], used_us * 1e-6)
    yield cpu
    used = GaugeMetricFamily(
        "overlane_worker_memory_used", "Entries in use", labels=["worker", "table"]
    )
    for worker, engine in enumerate(workers.engines):
        for table, (count, _) in dataclasses.asdict(engine.memory()).items():
            used.add_metric([str(worker), table], count)
    yield used


def _of_control(agent: ControlAgent) -> Iterator[Metric]:
    """How the node stands with its brain."""
    session, held = agent.session, agent.in_force
    config = agent.node.config.controller
    gauges = {
        "connected": ("The brain has let this node in", session.is_registered),
        "term": ("The brain's term", session.welcome.term if session.welcome else 0),
        "plain_text": ("The channel has no TLS", config is not None and config.is_plain_text),
        "table_term": ("Of the table in force", held.version.term if held else 0),
        "table_version": ("Of the table in force", held.version.version if held else 0),
        "table_stored": ("It outlasts the node", agent.is_stored),
        "table_neighbours": ("It names", len(held.table.neighbours) if held else 0),
        "table_paths": ("It pushes", len(held.table.paths) if held else 0),
        "announced": ("Broadcasts that the brain knows to start here", len(agent.announced)),
        "announcements_refused": ("And does not take", len(agent.announcement_problems)),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"overlane_control_{name}", text, value=value)
    alarms = GaugeMetricFamily(
        "overlane_control_alarm", "Nearly full: links, or the node itself", labels=["where"]
    )
    for where in sorted(name or agent.node.config.name for name in agent.alarms):
        alarms.add_metric([where], 1)
    yield alarms
    counts = CounterMetricFamily(
        "overlane_control_session", "What was said on the control channel", labels=["what"]
    )
    for name, count in sorted(session.counters.items()):
        counts.add_metric([name], count)
    yield counts
