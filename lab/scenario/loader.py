"""Reads a scenario file and reports every problem with the line it stands on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from lab.scenario.checks import Parts, cross_check
from lab.scenario.expectations import check_names
from lab.scenario.model import (
    Access,
    Brain,
    Broadcast,
    CrossTraffic,
    Event,
    Scenario,
    ScenarioLink,
    ScenarioNode,
    ScenarioPath,
    ScenarioViewer,
)
from service.config_problems import describe, suggestion
from service.errors import ConfigError, Problem
from service.toml_file import parse_toml
from service.toml_places import key_path

T = TypeVar("T")
_EVENTS: dict[str, type[BaseModel]] = {
    word: kind
    for kind in get_args(get_args(Event)[0])
    for word in get_args(kind.model_fields["do"].annotation)
}


def load_scenario(file: Path | str) -> Scenario:
    """Raises ConfigError with every problem: FILE:LINE, the key path, what is wrong."""
    path = Path(file)
    document, lines = parse_toml(path)
    scenario, problems = _validate(document)
    if scenario is None or problems:
        raise ConfigError(
            replace(problem, source=_source_of(path, lines, problem.key)) for problem in problems
        )
    return scenario


def scenario_of(document: Mapping[str, Any]) -> Scenario:
    """A scenario that was made by a program. Raises ConfigError."""
    scenario, problems = _validate(document)
    if scenario is None or problems:
        raise ConfigError(problems)
    return scenario


def _validate(document: Mapping[str, Any]) -> tuple[Scenario | None, list[Problem]]:
    try:
        scenario = Scenario.model_validate(document)
    except ValidationError as error:
        problems = [_describe(details) for details in error.errors()]
        return None, _in_order(problems + cross_check(_valid_parts(document)))
    return scenario, _in_order(cross_check(Parts.of(scenario)) + check_names(scenario))


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))


def _describe(details: Mapping[str, Any]) -> Problem:
    """pydantic puts an event's `do` into the place of the error; the file has no such key."""
    place = tuple(details["loc"])
    if place[0] != "events" or len(place) < 2:
        return describe(details, Scenario)
    if details["type"].startswith("union_tag"):
        known = f"one of {', '.join(_EVENTS)}"
        if details["type"] == "union_tag_not_found":
            return Problem(key_path((*place, "do")), f"is missing: {known}")
        found = str(details["ctx"]["tag"])
        return Problem(key_path((*place, "do")), f"{found} is no event{suggestion(found, _EVENTS)}")
    if len(place) > 3 or (len(place) == 3 and place[2] not in _EVENTS):
        inner = {**details, "loc": place[3:]}
        problem = describe(inner, _EVENTS[place[2]])
        return replace(problem, key=key_path((*place[:2], *place[3:])))
    return describe({**details, "loc": place[:2]}, Scenario)


def _source_of(file: Path, lines: Mapping[str, int], key: str) -> str:
    """Where the key stands or, if it does not, the nearest table above it."""
    place = key
    while place:
        if place in lines:
            return f"{file}:{lines[place]}"
        place = place[: max(place.rfind("."), place.rfind("["), 0)]
    return str(file)


def _valid_parts(document: Mapping[str, Any]) -> Parts:
    malformed = set()

    def one(key: str, model: TypeAdapter[T]) -> T | None:
        try:
            return model.validate_python(document[key]) if key in document else None
        except ValidationError:
            malformed.add(key)
            return None

    def each(key: str, model: TypeAdapter[T]) -> tuple[tuple[int, T], ...]:
        values = document.get(key, [])
        found = []
        for index, value in enumerate(values if isinstance(values, list | tuple) else [None]):
            try:
                found.append((index, model.validate_python(value)))
            except ValidationError:
                malformed.add(key)
        return tuple(found)

    return Parts(
        duration_s=one("duration_s", TypeAdapter(float)),
        brain=one("brain", TypeAdapter(Brain)),
        nodes=each("nodes", TypeAdapter(ScenarioNode)),
        links=each("links", TypeAdapter(ScenarioLink)),
        paths=each("paths", TypeAdapter(ScenarioPath)),
        broadcasts=each("broadcasts", TypeAdapter(Broadcast)),
        viewers=each("viewers", TypeAdapter(ScenarioViewer)),
        access=each("access", TypeAdapter(Access)),
        flows=each("flows", TypeAdapter(CrossTraffic)),
        events=each("events", TypeAdapter(Event)),
        malformed=frozenset(malformed),
    )
