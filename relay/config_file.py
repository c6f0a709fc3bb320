"""Reads a configuration: a TOML file, then the environment, then flags; the later one wins.

OVERLANE_NAME sets `name`, OVERLANE_ADMIN__LISTEN sets `admin.listen`; arrays are given as JSON.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from control_client.tokens import is_token
from relay.config import NodeConfig
from relay.config_checks import suggestion
from relay.config_sdp import tracks_of
from relay.errors import ConfigError, Problem
from relay.toml_file import MAX_FILE_BYTES, Table, parse_toml, read_text
from rtp.errors import RtpError

ENVIRONMENT_PREFIX = "OVERLANE_"
DELIMITER = "__"
MAX_SECRET_BYTES = 4096  # chosen: a secret is 64 digits; what is longer is another file

_CONTROLLER_FILES = ("ca_file", "certificate_file", "key_file", "table_file")


def load(path: Path | str, overrides: Mapping[str, object] | None = None) -> NodeConfig:
    """The configuration in a file.

    overrides: flags by key path ("admin.listen"), stronger than environment and file.
    Raises ConfigError with every problem: where it comes from, the key path, what is wrong.
    """
    file = Path(path)
    flags, problems = _nested(overrides or {})
    environment = _Environment()
    document, lines = parse_toml(file)
    layers = _Layers(file, lines, flags, environment())
    problems += [*environment.problems, *_unknown_environment()]
    merged = _merge(_merge(document, layers.environment), flags)
    config: NodeConfig | None = None
    with_secrets, secret_files, unreadable = _read_secrets(merged, file)
    with_secrets, token_problems = _with_controller(with_secrets, file)
    complete, undescribed = _read_descriptions(with_secrets, file)
    try:
        config = NodeConfig.model_validate(complete)
    except ConfigError as error:
        problems += [_about_secret_file(problem, secret_files) for problem in error.problems]
    problems += [*unreadable, *token_problems, *undescribed]
    if problems or config is None:
        raise ConfigError(replace(p, source=p.source or layers.source_of(p.key)) for p in problems)
    return config


@dataclass(frozen=True, slots=True)
class _Layers:
    """What set which key. lines: of the file's keys."""

    file: Path
    lines: Mapping[str, int]
    flags: Table
    environment: Table

    def source_of(self, key: str) -> str:
        """The strongest layer that has the key or, if none has, the nearest table above it."""
        for place in _from_key_up(key):
            if _contains(self.flags, place):
                return f"--set {place.partition('[')[0]}"
            if _contains(self.environment, place):
                return f"environment {_variable_of(place)}"
            if place in self.lines:
                return f"{self.file}:{self.lines[place]}"
        return str(self.file)


def _from_key_up(key: str) -> Iterator[str]:
    """a.b[0].c, a.b[0], a.b, a."""
    while key:
        yield key
        key = key[: max(key.rfind("."), key.rfind("["), 0)]


def _contains(tree: object, key: str) -> bool:
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", key):
        if name and isinstance(tree, dict) and name in tree:
            tree = tree[name]
        elif index and isinstance(tree, list | tuple) and int(index) < len(tree):
            tree = tree[int(index)]
        else:
            return False
    return True


def _variable_of(key: str) -> str:
    """The variable that set it: its own, or that of a table or array above it, as JSON."""
    names = {name.upper(): name for name in os.environ}
    for place in _from_key_up(key):
        wanted = (ENVIRONMENT_PREFIX + place.replace(".", DELIMITER)).upper()
        if wanted in names:
            return names[wanted]
    # A table of which only other keys have variables.
    return f"{ENVIRONMENT_PREFIX}{key.replace('.', DELIMITER).upper()}{DELIMITER}..."


def _merge(weaker: Table, stronger: Table) -> Table:
    """Tables are merged, anything else is replaced."""
    merged = dict(weaker)
    for key, value in stronger.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _read_secrets(merged: Table, file: Path) -> tuple[Table, dict[str, Path], list[Problem]]:
    """The tables with secret files' content in place of their names; those read, by the key that
    the content stands under; and a problem for each that could not be read."""
    neighbours = merged.get("neighbours")
    if not isinstance(neighbours, list):
        return merged, {}, []
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    read: list[object] = []
    for index, neighbour in enumerate(neighbours):
        read.append(neighbour)
        if not isinstance(neighbour, dict) or "secret" in neighbour:
            continue
        name = neighbour.get("secret_file")
        if not isinstance(name, str):
            continue
        try:
            secret = read_text(file.parent / name, MAX_SECRET_BYTES).strip()
        except ConfigError as error:
            (problem,) = error.problems
            key = f"neighbours[{index}].secret_file"
            problems.append(Problem(key, f"{problem.source}: {problem.text}"))
            continue
        files[f"neighbours[{index}].secret"] = file.parent / name
        kept = {key: value for key, value in neighbour.items() if key != "secret_file"}
        read[-1] = {**kept, "secret": secret}
    return {**merged, "neighbours": read}, files, problems


def _with_controller(merged: Table, file: Path) -> tuple[Table, list[Problem]]:
    """The tables with the controller's token in place of the file that holds it, its other files
    as they are found from here, and a problem if the token cannot be had."""
    found = merged.get("controller")
    if not isinstance(found, dict):
        return merged, []
    controller = dict(found)
    for key in _CONTROLLER_FILES:
        if isinstance(name := controller.get(key), str):
            controller[key] = str(file.parent / name)
    if "table_file" not in controller and isinstance(node := merged.get("name"), str):
        controller["table_file"] = str(file.parent / f"{Path(node).name}.table")
    problems = []
    if isinstance(name := controller.get("token_file"), str) and "token" not in controller:
        del controller["token_file"]
        token, problem = _read_token(file.parent / name)
        # An empty one stands in for one that cannot be had, which is then the only problem told.
        controller["token"] = token
        problems = [problem] if problem else []
    return {**merged, "controller": controller}, problems


def _read_token(path: Path) -> tuple[str, Problem | None]:
    key = "controller.token_file"
    try:
        token = read_text(path, MAX_SECRET_BYTES).strip()
    except ConfigError as error:
        (problem,) = error.problems
        return "", Problem(key, f"{problem.source}: {problem.text}")
    if not is_token(token):
        text = f"{path}: is no token; make one with: overlane token node NAME"
        return "", Problem(key, text)
    return token, None


def _read_descriptions(merged: Table, file: Path) -> tuple[Table, list[Problem]]:
    """The tables with the tracks that ingests' SDP files describe, and a problem for each file that
    describes none."""
    ingests = merged.get("ingests")
    if not isinstance(ingests, list):
        return merged, []
    problems: list[Problem] = []
    read = [_with_tracks(ingest, i, file, problems) for i, ingest in enumerate(ingests)]
    return {**merged, "ingests": read}, problems


def _with_tracks(ingest: object, index: int, file: Path, problems: list[Problem]) -> object:
    if not isinstance(ingest, dict) or not isinstance(ingest.get("sdp_file"), str):
        return ingest
    key = f"ingests[{index}].sdp_file"
    if "tracks" in ingest:
        problems.append(Problem(key, "give sdp_file or tracks, not both"))
        return ingest
    path = file.parent / ingest["sdp_file"]
    try:
        text = read_text(path, MAX_FILE_BYTES)
        tracks = tracks_of(text, str(ingest.get("sdp_listen", "0.0.0.0")))
    except ConfigError as error:
        problems += [Problem(key, f"{each.source}: {each.text}") for each in error.problems]
        tracks = []
    except (ValueError, RtpError) as error:
        problems.append(Problem(key, f"{path}: {error}"))
        tracks = []
    return {**ingest, "tracks": tracks}


def _about_secret_file(problem: Problem, files: Mapping[str, Path]) -> Problem:
    """A problem with a secret that came from a file names that file."""
    if problem.key not in files:
        return problem
    return Problem(f"{problem.key}_file", f"{files[problem.key]}: {problem.text}")


def _nested(flags: Mapping[str, object]) -> tuple[Table, list[Problem]]:
    """Flags as tables, and those that cannot be: "log=x" beside "log.level=y"."""
    tree: Table = {}
    problems = []
    for key, value in flags.items():
        *parents, last = key.split(".")
        table: object = tree
        for parent in parents:
            table = table.setdefault(parent, {}) if isinstance(table, dict) else None
        if isinstance(table, dict) and not isinstance(table.get(last), dict):
            table[last] = value
        else:
            text = "is set both as a value and as a table"
            problems.append(Problem(key, text, f"--set {key}"))
    return tree, problems


class _Settings(NodeConfig, BaseSettings):
    """A configuration as pydantic-settings looks for its keys."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter=DELIMITER, extra="forbid"
    )


class _Environment(EnvSettingsSource):
    """The variables as tables; what is not JSON where it must be is left out and listed."""

    def __init__(self) -> None:
        super().__init__(_Settings)
        self.problems: list[Problem] = []

    def prepare_field_value(
        self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool
    ) -> Any:
        try:
            return super().prepare_field_value(field_name, field, value, value_is_complex)
        except ValueError as error:
            source = f"environment {_variable_of(field_name)}"
            self.problems.append(Problem(field_name, f"must be JSON: {error}", source))
            return None


def _unknown_environment() -> list[Problem]:
    """Variables that name no key. Only nested ones and those that look misspelt: a container host
    may have set others, such as OVERLANE_PORT for a service called overlane. Keys of known tables
    are checked with the tables."""
    problems = []
    for variable in sorted(os.environ):
        key = variable.upper().removeprefix(ENVIRONMENT_PREFIX).lower()
        part, nested, _ = key.partition(DELIMITER)
        if not variable.upper().startswith(ENVIRONMENT_PREFIX) or part in NodeConfig.model_fields:
            continue
        text = suggestion(part, tuple(NodeConfig.model_fields))
        if nested or "did you mean" in text:
            problems.append(Problem("", f"unknown key{text}", f"environment {variable}"))
    return problems
