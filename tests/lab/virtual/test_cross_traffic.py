"""[[flows]] of a scenario: over links and access paths, in the same queue as media."""

from __future__ import annotations

from typing import Any

import pytest

from lab.scenario.loader import scenario_of
from lab.virtual.run import run_virtual
from service.errors import ConfigError


def document(*flows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Two nodes over a link of 3 Mbit/s, a viewer at the far one."""
    link = {"a": "a", "b": "b", "delay_ms": 20, "rate_bps": 3_000_000, "queue_ms": 150}
    return {
        "name": "small",
        "duration_s": 12.0,
        "nodes": [{"name": "a"}, {"name": "b"}],
        "links": [link],
        "paths": [{"node": "b", "stream": "live", "via": ["a"]}],
        "broadcasts": [{"name": "live", "node": "a", "bitrate_bps": 800_000}],
        "viewers": [{"name": "v", "stream": "live", "node": "b", "join_s": 2.0}],
        "flows": list(flows),
    } | changes


def test_tcp_takes_what_media_leave_and_fills_the_queue() -> None:
    tcp = {"name": "download", "kind": "tcp", "a": "a", "b": "b", "start_s": 2.0}
    alone = run_virtual(scenario_of(document()))
    beside = run_virtual(scenario_of(document(tcp)))
    (flow,) = beside.flows
    assert 1_500_000 < flow.rate_bps < 2_300_000
    assert 0 < flow.loss < 0.05
    assert (alone.viewers[0].delay_ms.p50 or 0) < 40
    assert (beside.viewers[0].delay_ms.p50 or 0) > 80  # a queue of 150 ms, mostly full
    assert beside.viewers[0].packets_corrupt == 0
    assert beside == run_virtual(scenario_of(document(tcp)))


def test_the_other_direction_has_a_queue_of_its_own() -> None:
    cbr = {"name": "up", "kind": "cbr", "rate_bps": 6_000_000, "a": "a", "b": "b", "reverse": True}
    # It comes before the broadcast: a GoP at once would fill the queue of this direction too, and
    # with two full queues the round trip is longer than the playout.
    viewers = [{"name": "v", "stream": "live", "node": "b", "join_s": 0.5}]
    report = run_virtual(scenario_of(document(cbr, viewers=viewers)))
    (flow,) = report.flows
    assert flow.loss == pytest.approx(0.5, abs=0.03)
    assert report.viewers[0].intact_ratio == 1.0
    (hop,) = (hop for hop in report.hops if hop.sender == "a")
    assert hop.lost == 0


def test_so_many_alike_on_each_path() -> None:
    viewers = [
        {"name": "v", "stream": "live", "node": "b", "join_s": 2.0, "count": 2},
        {"name": "w", "stream": "live", "node": "b", "join_s": 2.0},
    ]
    access = [{"viewers": "*", "delay_ms": 5, "rate_bps": 5_000_000}]
    flow = {"name": "page", "kind": "short_tcp", "viewers": "v-*", "count": 3, "end_s": 8.0}
    report = run_virtual(scenario_of(document(flow, viewers=viewers, access=access)))
    assert [each.name for each in report.flows] == [f"page-{n}" for n in range(1, 7)]
    assert any(each.transfers for each in report.flows)
    assert [each.name for each in report.access] == ["v-1", "v-2", "w"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"a": "a", "b": "c"}, "flows[0].b: there is no node c"),
        ({"a": "a", "b": "a"}, "flows[0]: a and a have no link"),
        ({"a": "a"}, "give either a and b, or viewers, or broadcast"),
        ({"a": "a", "b": "b", "viewers": "v"}, "give either a and b, or viewers, or broadcast"),
        ({"viewers": "v"}, "flows[0]: is over the access of nobody who has one by [[access]]"),
        ({"a": "a", "b": "b", "rate_bps": 50_000}, "rate_bps is for cbr, which needs it"),
        ({"a": "a", "b": "b", "kind": "cbr"}, "rate_bps is for cbr, which needs it"),
        ({"a": "a", "b": "b", "start_s": 12.0}, "flows[0].start_s: is not before the end"),
        ({"a": "a", "b": "b", "start_s": 3.0, "end_s": 3.0}, "end_s is not after start_s"),
    ],
)
def test_flows_that_make_no_sense(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scenario_of(document({"name": "x", "kind": "tcp", **keys}))
    assert any(expected in str(problem) for problem in caught.value.problems), caught.value.problems


def test_two_flows_of_one_name() -> None:
    flow = {"name": "x", "kind": "tcp", "a": "a", "b": "b"}
    with pytest.raises(ConfigError, match="flow x is already that of"):
        scenario_of(document(flow, flow))
