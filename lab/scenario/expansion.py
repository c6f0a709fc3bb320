"""What one table of a file says of many: broadcasts that are alike, and when each viewer comes.

`expanded` makes of a broadcast with `count` as many broadcasts, each with its viewer and paths.
`stays` draws when each viewer of an entry joins, the same in virtual and in real time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from lab.scenario.model import Broadcast, Scenario, ScenarioPath, ScenarioViewer

_ALONE = {"count": 1}


def for_real_time(scenario: Scenario) -> Scenario:
    """With no more of anything than real processes are to carry: `real_time_count`."""
    most = scenario.real_time_count
    if most is None:
        return scenario
    few = {
        "broadcasts": tuple(_at_most(entry, most) for entry in scenario.broadcasts),
        "viewers": tuple(_at_most(entry, most) for entry in scenario.viewers),
    }
    return scenario.model_copy(update=few)


def expanded(scenario: Scenario) -> Scenario:
    """Without a broadcast that counts more than one."""
    counts = {each.name: each.count for each in scenario.broadcasts if each.count > 1}
    if not counts:
        return scenario
    parts = {
        "broadcasts": tuple(
            each.model_copy(update=_ALONE | {"name": name})
            for each in scenario.broadcasts
            for name in each.names
        ),
        "viewers": tuple(each for entry in scenario.viewers for each in _watchers(entry, counts)),
        "paths": tuple(each for path in scenario.paths for each in _paths(path, counts)),
    }
    return scenario.model_copy(update=parts)


def stays(scenario: Scenario) -> Iterator[tuple[str, float | None, float | None]]:
    """Each viewer's name, when it joins and when it leaves, in s; None: not by itself."""
    for entry in scenario.viewers:
        for name in entry.names:
            join_s, leave_s = entry.join_s, entry.leave_s
            if join_s is not None and entry.join_spread_s:
                luck = random.Random(f"{scenario.seed} join {name}").random()
                join_s += round(luck * entry.join_spread_s, 6)
            if join_s is not None and entry.stay_s is not None:
                leave_s = join_s + entry.stay_s
            yield name, join_s, leave_s


def _at_most(entry: Broadcast | ScenarioViewer, most: int) -> Broadcast | ScenarioViewer:
    return entry.model_copy(update={"count": min(entry.count, most)})


def _watchers(entry: ScenarioViewer, counts: dict[str, int]) -> Iterator[ScenarioViewer]:
    count = counts.get(entry.stream)
    if count is None:
        yield entry
        return
    for number in range(1, count + 1):
        alone = {"name": f"{entry.name}-{number}", "stream": f"{entry.stream}-{number}"}
        yield entry.model_copy(update=_ALONE | alone)


def _paths(path: ScenarioPath, counts: dict[str, int]) -> Iterator[ScenarioPath]:
    count = counts.get(path.stream)
    if count is None:
        yield path
        return
    for number in range(1, count + 1):
        yield path.model_copy(update={"stream": f"{path.stream}-{number}"})
