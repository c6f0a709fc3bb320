"""What is told of many streams, links and viewers: whole, in pieces, while the node changes."""

from __future__ import annotations

import json
import re

from prometheus_client.parser import text_string_to_metric_families

from relay.events import OverloadBegan, OverloadEnded
from relay.metrics import new_registry
from relay.series import exposition
from relay.status import node_status, status_pieces
from tests.relay.encoder import Encoder
from tests.relay.overlay import Overlay, Running
from tests.relay.test_node_virtual import line, watch


def serving() -> tuple[Overlay, Running]:
    overlay = Overlay()
    _, _, c = line(overlay)
    watch(overlay, c)
    Encoder(overlay, "a").run_for(1_000_000)
    return overlay, c


def test_prometheus_reads_all_of_it() -> None:
    _, c = serving()
    text = "".join(exposition(c.node, new_registry(c.node)))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["overlane_link_is_up"].type == "gauge"
    assert families["overlane_stream_packets"].type == "counter"
    assert {s.labels["media"] for s in families["overlane_stream_packets"].samples} == {
        stream.track.media for stream in c.node.streams.all
    }
    assert families["overlane_overload_step"].samples[0].value == 0
    helps = re.findall(r"^# HELP (\S+)", text, re.MULTILINE)
    assert len(helps) == len(set(helps))


def test_delays_are_a_histogram() -> None:
    _, c = serving()
    text = "".join(exposition(c.node, new_registry(c.node)))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    family = families["overlane_viewers_time_in_node_seconds"]
    assert family.type == "histogram"
    buckets = [s for s in family.samples if s.name.endswith("_bucket")]
    bounds = [float(s.labels["le"]) for s in buckets]
    assert bounds[0] == 1e-6
    assert bounds[-2:] == [1.048576, float("inf")]
    assert bounds == sorted(bounds)
    within = [s.value for s in buckets]
    assert within == sorted(within)
    (count,) = (s.value for s in family.samples if s.name.endswith("_count"))
    assert count == within[-1] == c.node.engine.delays().count > 0
    links = families["overlane_link_time_in_node_seconds"].samples
    assert {s.labels["neighbour"] for s in links} == set(c.node.neighbours)


def test_status_in_pieces_is_the_same() -> None:
    _, c = serving()
    pieces = list(status_pieces(c.node, 1_500_000, None, 0))
    assert json.loads(b"".join(pieces)) == json.loads(json.dumps(node_status(c.node, 1_500_000)))
    assert len(pieces) > 5


def test_what_goes_between_two_pieces_is_left_out() -> None:
    overlay, c = serving()
    pieces = status_pieces(c.node, 0, None, 0)
    text = exposition(c.node, new_registry(c.node))
    said, scraped = [next(pieces), next(pieces)], [next(text)]
    for viewer in list(c.node.edge.viewers):
        c.node.remove_viewer(viewer, overlay.now_us)
    overlay.run_for(10_000_000)
    assert not list(c.node.streams.all)
    found = json.loads(b"".join([*said, *pieces]))
    assert found["viewers"] == []
    assert "overlane_stream_packets_total{" not in "".join([*scraped, *text])


def test_overload_is_told_once_at_each_end() -> None:
    overlay, c = serving()
    engine = c.node.engine.engines[0]
    for _ in range(30):
        overlay.now_us += 5_000
        engine.turn(overlay.now_us, arrived_us=overlay.now_us - 20_000)
    c.node.handle_engine_events(overlay.now_us)
    status = node_status(c.node, 0)
    assert isinstance(status["overload"], dict)
    assert status["overload"]["step"] > 0
    for _ in range(40):
        overlay.now_us += 50_000
        engine.turn(overlay.now_us)
    c.node.handle_engine_events(overlay.now_us)
    told = []
    while (event := c.node.next_event()) is not None:
        told.append(event)
    told = [event for event in told if isinstance(event, OverloadBegan | OverloadEnded)]
    assert [type(event) for event in told] == [OverloadBegan, OverloadEnded]
    assert told[0] == OverloadBegan(20_000)
