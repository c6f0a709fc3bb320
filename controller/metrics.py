"""The brain's counters for Prometheus, read when asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.brain import Brain
from service.log import standard_error

TURN_BUCKETS_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class ShellCounters:
    """What the shell counts itself. turn: how long the brain kept the event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.saves: Counter[str] = Counter()
        self.connections_cut = 0
        self.tls_failures = 0
        self.turn = Histogram(
            "overlane_brain_turn_seconds",
            "Event loop time of a turn of the brain",
            buckets=TURN_BUCKETS_S,
            registry=registry,
        )


class BrainCollector(Collector):
    """One brain's metrics, all named overlane_brain_..."""

    def __init__(self, brain: Brain, shell: ShellCounters) -> None:
        self._brain = brain
        self._shell = shell

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client, once per scrape."""
        status = self._brain.status()
        nodes = GaugeMetricFamily("overlane_brain_nodes", "Nodes by state", labels=["state"])
        nodes.add_metric(["known"], status.known_nodes)
        nodes.add_metric(["connected"], status.nodes)
        nodes.add_metric(["suspect"], status.suspect_nodes)
        nodes.add_metric(["overloaded"], status.overloaded_nodes)
        yield nodes
        gauges = {
            "links": ("Pairs of nodes that have a link in tables", status.links),
            "streams": ("Broadcasts that are live", status.streams),
            "popular": ("Broadcasts whose paths are pushed", len(status.popular)),
            "term": ("This start's term", status.term),
            "network_version": ("Of the picture that paths are searched in", status.version),
            "settling": ("1 while tables wait for nodes to come back", int(status.is_settling)),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"overlane_brain_{name}", text, value=value)
        yield from self._counters(status.counters)
        saves = CounterMetricFamily(
            "overlane_brain_state_saves", "Saves of the state", labels=["result"]
        )
        for result in ("done", "failed"):
            saves.add_metric([result], self._shell.saves[result])
        yield saves
        lost = CounterMetricFamily(
            "overlane_log_lines_lost", "Lines that standard error did not take"
        )
        lost.add_metric([], standard_error.lost_lines)
        yield lost

    def _counters(self, counters: dict[str, int]) -> Iterator[Metric]:
        """By the beginning of their names."""
        families = {
            "turned_away_": ("sessions_refused", "Connections refused by the brain", "code"),
            "received_": ("received_messages", "Messages from nodes", "message"),
            "sent_": ("sent_messages", "Messages to nodes", "message"),
            "tables_": ("tables", "Tables made, sent whole or as change, and refused", "what"),
            "paths_": ("path_requests", "Path requests by outcome", "outcome"),
        }
        rest = dict(counters)
        for prefix, (name, text, label) in families.items():
            family = CounterMetricFamily(f"overlane_brain_{name}", text, labels=[label])
            for key in [key for key in rest if key.startswith(prefix)]:
                family.add_metric([key.removeprefix(prefix)], rest.pop(key))
            yield family
        for key, value in rest.items():
            yield CounterMetricFamily(f"overlane_brain_{key}", f"The brain's {key}", value=value)
        yield CounterMetricFamily(
            "overlane_brain_connections_cut",
            "Nodes that did not read what they were sent",
            value=self._shell.connections_cut,
        )
        yield CounterMetricFamily(
            "overlane_brain_tls_failures",
            "TLS handshakes that failed",
            value=self._shell.tls_failures,
        )


def new_registry() -> tuple[CollectorRegistry, ShellCounters]:
    """A registry of its own, so that several brains fit in one process."""
    registry = CollectorRegistry()
    return registry, ShellCounters(registry)
