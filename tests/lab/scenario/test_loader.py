"""Scenario files: those that are shipped load, and bad ones name every problem with its line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.link import BurstLoss, LinkConfig
from lab.scenario.expansion import expanded, for_real_time, stays
from lab.scenario.loader import load_scenario, scenario_of
from lab.scenario.model import ChangeAccess
from lab.scenario.topology import access_paths, changed, changed_access, link_configs, pair_of
from service.errors import ConfigError

SHIPPED = sorted((Path(__file__).parents[3] / "lab" / "scenarios").glob("*.toml"))

GOOD = """
name = "small"
duration_s = 10.0
[brain]
[[nodes]]
name = "a"
[[nodes]]
name = "b"
[[links]]
a = "a"
b = "b"
delay_ms = 5.5
loss = 0.01
[[broadcasts]]
name = "live"
node = "a"
[[viewers]]
name = "v"
stream = "live"
node = "b"
join_s = 2.0
[[events]]
at_s = 3.0
do = "cut"
a = "a"
b = "b"
[expect]
"viewers.*.intact_ratio" = ">= 0.9"
"""


MANY: dict[str, Any] = {
    "name": "many",
    "duration_s": 10.0,
    "nodes": [{"name": "a"}, {"name": "b"}],
    "links": [{"a": "a", "b": "b", "delay_ms": 5}],
    "paths": [{"node": "b", "stream": name, "via": ["a"]} for name in ("live", "other")],
    "broadcasts": [{"name": "live", "node": "a", "count": 3}, {"name": "other", "node": "a"}],
    "viewers": [
        {"name": "v", "stream": "live", "node": "b", "join_s": 1.0, "count": 3},
        {"name": "w", "stream": "other", "node": "b", "join_s": 1.0, "count": 4},
    ],
}


def problems_of(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "scenario.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_scenario(file)
    return [str(problem).replace(f"{file}:", "") for problem in caught.value.problems]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_scenarios_load(file: Path) -> None:
    scenario = load_scenario(file)
    assert scenario.name == file.stem
    assert scenario.expect
    assert link_configs(scenario) or len(scenario.nodes) == 1


def test_a_small_scenario(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(GOOD)
    scenario = load_scenario(file)
    config = link_configs(scenario)[pair_of("b", "a")]
    assert (config.delay_us, config.loss, config.jitter_us) == (5_500, 0.01, 0)


def test_every_problem_is_named_with_its_line(tmp_path: Path) -> None:
    text = GOOD.replace('node = "a"', 'node = "aa"').replace("join_s = 2.0", "join_s = 20.0")
    text = text.replace('do = "cut"', 'do = "cutt"').replace("loss = 0.01", "loss = 1.5")
    found = problems_of(tmp_path, text)
    assert [problem.split(":")[:2] for problem in found] == [
        ["13", " links[0].loss"],
        ["24", " events[0].do"],
        ["16", " broadcasts[0].node"],
        ["21", " viewers[0].join_s"],
    ]
    assert "did you mean cut?" in found[1]
    assert "there is no node aa; did you mean a?" in found[2]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('b = "b"\n[expect]', 'b = "c"\n[expect]', "26: events[0].b: there is no node c"),
        ("at_s = 3.0\n", "", "22: events[0].at_s: is missing"),
        ("at_s = 3.0", "at_s = 11.0", "23: events[0].at_s: is not before the end"),
        ('do = "cut"\n', "", "22: events[0].do: is missing: one of cut, mend"),
        ("[brain]\n", "", "19: viewers[0].node: nothing leads to live"),
        ("delay_ms = 5.5\n", "", "9: links[0].delay_ms: is missing, and a has no city"),
        ("[[events]]", '[[events]]\nhow = "x"', "23: events[0].how: unknown key"),
        ('name = "a"', 'name = "a"\ncity = "Londn"', "7: nodes[0].city: unknown city 'Londn'"),
        ('name = "b"', 'name = "a"', "there is no node b"),
        ('">= 0.9"', '"at most 1"', "28: expect.viewers"),
        (".intact_ratio", ".intact_ration", "did you mean viewers.*.intact_ratio"),
        ('do = "cut"', 'do = "start"\nnode = "a"', "events[0].a: unknown key"),
        ("duration_s = 10.0", "duration_s = ", "is not TOML"),
        ("join_s = 2.0", "stay_s = 2.0", "21: viewers[0].stay_s: is for who has a join_s"),
        (
            "join_s = 2.0",
            "join_s = 2.0\njoin_spread_s = 9.0",
            "21: viewers[0].join_s: is not before the end",
        ),
        (
            '[[viewers]]\nname = "v"',
            'count = 3\n[[viewers]]\nname = "v"',
            "viewers[0].count: must be that of live, whose viewers watch one each",
        ),
        (
            'do = "cut"\na = "a"\nb = "b"',
            'do = "switch_viewer"\nviewer = "v"\nto = "life"',
            "events[0].to: there is no broadcast life; did you mean live?",
        ),
        (
            'do = "cut"\na = "a"\nb = "b"',
            'do = "switch_viewer"\nviewer = "v"\nto = "vp8"\n'
            '[[broadcasts]]\nname = "vp8"\nnode = "a"\ncodec = "VP8"',
            "events[0].to: vp8 is VP8, live is H264",
        ),
    ],
)
def test_problems(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = problems_of(tmp_path, GOOD.replace(old, new))
    assert any(expected in problem for problem in found), found


def test_broadcasts_that_are_alike_have_a_viewer_and_a_path_each() -> None:
    scenario = expanded(scenario_of(MANY))
    assert [each.name for each in scenario.broadcasts] == ["live-1", "live-2", "live-3", "other"]
    watched = [(each.name, each.stream, each.count) for each in scenario.viewers]
    assert watched == [*((f"v-{n}", f"live-{n}", 1) for n in (1, 2, 3)), ("w", "other", 4)]
    assert [path.stream for path in scenario.paths] == ["live-1", "live-2", "live-3", "other"]
    assert expanded(scenario) == scenario


def test_real_time_has_no_more_than_the_file_says() -> None:
    scenario = expanded(for_real_time(scenario_of(MANY | {"real_time_count": 2})))
    assert [each.name for each in scenario.broadcasts] == ["live-1", "live-2", "other"]
    assert [each.names for each in scenario.viewers] == [("v-1",), ("v-2",), ("w-1", "w-2")]
    assert for_real_time(scenario_of(MANY)) == scenario_of(MANY)


def test_each_viewer_has_a_time_of_its_own() -> None:
    viewer = {"name": "w", "stream": "other", "node": "b", "count": 200, "join_s": 2.0}
    drawn = MANY | {"viewers": [viewer | {"join_spread_s": 5.0, "stay_s": 1.5}]}
    found = list(stays(scenario_of(drawn)))
    joins = [join_s for _, join_s, _ in found if join_s is not None]
    assert 2.0 <= min(joins) < 2.2
    assert 6.8 < max(joins) <= 7.0
    assert len(set(joins)) == 200
    assert all(leave_s == join_s + 1.5 for _, join_s, leave_s in found if join_s is not None)
    assert list(stays(scenario_of(drawn))) == found
    assert list(stays(scenario_of(drawn | {"seed": 2}))) != found


def test_events_must_be_possible_when_they_come(tmp_path: Path) -> None:
    again = '[[events]]\nat_s = 4.0\ndo = "start_brain"\n[expect]'
    assert (
        "the brain runs already at 4 s" in problems_of(tmp_path, GOOD.replace("[expect]", again))[0]
    )
    again = '[[events]]\nat_s = 4.0\ndo = "start"\nnode = "b"\n[expect]'
    assert "b runs already at 4 s" in problems_of(tmp_path, GOOD.replace("[expect]", again))[0]


def test_cities_make_a_mesh_that_links_override() -> None:
    scenario = scenario_of(
        {
            "name": "mesh",
            "duration_s": 5,
            "nodes": [
                {"name": "l", "city": "London"},
                {"name": "n", "city": "New York"},
                {"name": "t", "city": "Tokyo"},
            ],
            "mesh": {"loss": 0.02, "jitter_ms": 1},
            "links": [
                {"a": "t", "b": "l", "delay_ms": 100, "loss": 0},
                {"a": "n", "b": "t", "cut": True},
            ],
            "broadcasts": [{"name": "live", "node": "l"}],
        }
    )
    links = link_configs(scenario)
    assert set(links) == {("l", "n"), ("l", "t")}
    assert links["l", "t"].delay_us == 100_000
    assert (links["l", "t"].loss, links["l", "t"].jitter_us) == (0.0, 1_000)
    assert (links["l", "n"].loss, links["l", "n"].delay_us) == (0.02, 35_500)
    events = scenario_of(
        {
            **scenario.model_dump(exclude_none=True),
            "events": [{"at_s": 1, "do": "link", "a": "l", "b": "n", "loss": 0.5}],
        }
    ).events
    after = changed(links["l", "n"], events[0])  # type: ignore[arg-type]  # it is a link event
    assert (after.loss, after.delay_us) == (0.5, links["l", "n"].delay_us)


ACCESS = """[[access]]
viewers = "v*"
delay_ms = 10
rate_trace = [[0, 4_000_000], [10, 1_000_000]]
queue_ms = 300
burst_loss = { p_bad = 0.01, p_good = 0.2 }
back = { rate_bps = 500_000, loss = 0.01 }
[[events]]
at_s = 4.0
do = "access"
viewers = "v"
rate_trace = [[0, 1_000_000], [2, 4_000_000]]
[expect]"""


def test_an_access_path_is_alike_in_both_directions_unless_said(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(GOOD.replace("[expect]", ACCESS))
    scenario = load_scenario(file)
    (path,) = access_paths(scenario)
    assert path.viewers == ("v",)
    assert path.forward == LinkConfig(
        10_000,
        rate_trace=((0, 4_000_000), (10_000_000, 1_000_000)),
        queue_us=300_000,
        burst_loss=BurstLoss(0.01, 0.2),
    )
    assert path.back == replace(path.forward, loss=0.01, rate_bps=500_000, rate_trace=())
    event = scenario.events[-1]
    assert isinstance(event, ChangeAccess)
    after = changed_access(path, event, 5_000_000)
    assert after.back == path.back
    assert after.forward == replace(
        path.forward,
        rate_trace=((0, 1_000_000), (2_000_000, 4_000_000)),
        trace_origin_us=5_000_000,
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('viewers = "v*"', 'viewers = "w*"', "28: access[0].viewers: there is no viewer w*"),
        ('viewers = "v*"\n', "", "27: access[0]: give either viewers or broadcast"),
        ("[[0, 4_000_000],", "[[1, 4_000_000],", "30: access[0].rate_trace: must begin at 0 s"),
        ("[10, 1_000_000]", "[0, 1_000_000]", "30: access[0].rate_trace: times must rise"),
        ("queue_ms = 300", "queue_ms = 300\nqueue_bytes = 3000", "27: access[0]: queue_bytes and"),
        ("p_bad = 0.01,", "p_bad = 1.01,", "32: access[0].burst_loss.p_bad: "),
        ("p_good = 0.2", "p_god = 0.2", "32: access[0].burst_loss.p_god: unknown key; did you"),
        ("loss = 0.01 }", "los = 0.01 }", "33: access[0].back.los: unknown key; did you mean loss"),
        ('viewers = "v"\n', 'viewers = "x"\n', "34: events[1]: changes the access of nobody"),
        ('viewers = "v"\n', 'broadcast = "live"\n', "34: events[1]: changes the access of nobody"),
        (
            "[expect]",
            '[[access]]\nviewers = "?"\n[expect]',
            "39: access[1]: viewer v has its access by access[0] already",
        ),
        ("[expect]", '[[access]]\nbroadcast = "life"\n[expect]', "did you mean live?"),
    ],
)
def test_problems_of_access(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in ACCESS
    found = problems_of(tmp_path, GOOD.replace("[expect]", ACCESS.replace(old, new)))
    assert any(expected in problem for problem in found), found
