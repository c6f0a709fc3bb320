"""Figures against the bounds of [expect].

A name is dotted; `*` stands for any characters within one part. A last part of p50, p95, p99 (any
pNN), min, max, mean, sum or count that no figure has takes that over all that match; without it,
each match must keep to the bound and the worst is shown. What could not be measured (a viewer who
never saw a frame) is worse than any bound.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence

from lab.scenario.bounds import parse_bound
from lab.scenario.figures import Figures, figures_of, possible_figures
from lab.scenario.model import Scenario
from lab.scenario.report import ExpectationReport, ScenarioReport
from service.errors import Problem

_AGGREGATES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "max": max,
    "sum": sum,
    "mean": lambda values: sum(values) / len(values),
}
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")
_NEAR_NAMES = 3


def check_names(scenario: Scenario) -> list[Problem]:
    """The expectations that no report of this scenario could answer, with near names."""
    possible = possible_figures(scenario)
    problems = []
    for name in scenario.expect:
        pattern, _ = _split(name, possible)
        if not _matching(pattern, possible):
            near = _near(name, scenario, possible)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            problems.append(Problem(f"expect.{name}", f"there is no such figure{hint}"))
    return problems


def judge(scenario: Scenario, report: ScenarioReport) -> list[ExpectationReport]:
    """Every line of [expect], in the file's order."""
    figures = figures_of(report)
    return [_judge_one(name, bound, figures) for name, bound in scenario.expect.items()]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed (nearest rank). values: at least one."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _judge_one(name: str, text: str, figures: Figures) -> ExpectationReport:
    bound = parse_bound(text)
    pattern, aggregate = _split(name, figures)
    found = [figures[match] for match in _matching(pattern, figures)]
    measured = [value for value in found if value is not None]
    figure: float | None = None
    held = False
    if aggregate == "count":
        figure = float(len(measured))
        held = bound.holds(figure)
    elif measured and aggregate and len(measured) == len(found):
        figure = _aggregate(aggregate, measured)
        held = bound.holds(figure)
    elif measured and aggregate and (match := _PERCENTILE.fullmatch(aggregate)):
        # Those that never got there come after all that did.
        all_of_them = [math.inf if value is None else value for value in found]
        value = percentile(all_of_them, float(match[1]) / 100)
        figure = None if math.isinf(value) else value
        held = figure is not None and bound.holds(figure)
    elif measured and not aggregate:
        figure = bound.worst(measured)
        held = len(measured) == len(found) and bound.holds(figure)
    return ExpectationReport(name=name, bound=text, figure=figure, matches=len(found), held=held)


def _aggregate(name: str, values: Sequence[float]) -> float:
    match = _PERCENTILE.fullmatch(name)
    return percentile(values, float(match[1]) / 100) if match else _AGGREGATES[name](values)


def _split(name: str, figures: Figures) -> tuple[str, str]:
    """The pattern, and the aggregate or ""."""
    if _matching(name, figures):
        return name, ""
    pattern, _, last = name.rpartition(".")
    if last in _AGGREGATES or last == "count" or _PERCENTILE.fullmatch(last):
        return pattern, last
    return name, ""


def _matching(pattern: str, figures: Figures) -> list[str]:
    if "*" not in pattern:
        return [pattern] if pattern in figures else []
    parts = (re.escape(part).replace(r"\*", "[^.]*") for part in pattern.split("."))
    expression = re.compile(r"\.".join(parts))
    return [name for name in figures if expression.fullmatch(name)]


def _near(name: str, scenario: Scenario, possible: Figures) -> list[str]:
    """Names a writer may have meant. With a `*` in the place of a name, figures count once."""
    if "*" in name:
        kind = name.split(".")[0]
        stems = {
            f"{kind}.*.{'.'.join(figure.removeprefix(f'{kind}.{owner}.').split('.'))}"
            for owner in _owners(kind, scenario)
            for figure in possible
            if figure.startswith(f"{kind}.{owner}.")
        }
        return difflib.get_close_matches(name, sorted(stems), n=_NEAR_NAMES)
    return difflib.get_close_matches(name, list(possible), n=_NEAR_NAMES)


def _owners(kind: str, scenario: Scenario) -> list[str]:
    """One is enough: all have the same figures."""
    match kind:
        case "viewers":
            return [viewer.names[0] for viewer in scenario.viewers][:1]
        case "hops" if len(scenario.nodes) > 1:
            return [f"{scenario.nodes[0].name}>{scenario.nodes[1].name}"]
        case "events" if scenario.events:
            return ["0"]
    return []
