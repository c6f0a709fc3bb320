"""A configuration's layers: a TOML file, then the environment, then flags; the later one wins.

With the prefix OVERLANE_, OVERLANE_NAME sets `name` and OVERLANE_ADMIN__LISTEN sets `admin.listen`;
arrays are given as JSON. What set a key is remembered, for problems with it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from service.config_problems import suggestion
from service.errors import Problem
from service.toml_file import Table, parse_toml

DELIMITER = "__"
NODE_PREFIX = "OVERLANE_"
BRAIN_PREFIX = "OVERLANE_BRAIN_"  # longer than the node's, which leaves these to the brain


@dataclass(frozen=True, slots=True)
class Layers:
    """merged: what they make together. lines: of the file's keys. problems: with the layers
    themselves; `source_of` tells where the others come from."""

    file: Path
    merged: Table
    problems: tuple[Problem, ...]
    prefix: str
    lines: Mapping[str, int] = field(repr=False)
    flags: Table = field(repr=False)
    environment: Table = field(repr=False)

    def source_of(self, key: str) -> str:
        """The strongest layer that has the key or, if none has, the nearest table above it."""
        for place in _from_key_up(key):
            if _contains(self.flags, place):
                return f"--set {place.partition('[')[0]}"
            if _contains(self.environment, place):
                return f"environment {_variable_of(place, self.prefix)}"
            if place in self.lines:
                return f"{self.file}:{self.lines[place]}"
        return str(self.file)


def read_layers(
    file: Path, flags: Mapping[str, object], model: type[BaseModel], prefix: str
) -> Layers:
    """flags: values by key path ("admin.listen"). model: what they are to become.

    Raises ConfigError if the file is not TOML.
    """
    nested, problems = _nested(flags)
    environment = _Environment(model, prefix)
    document, lines = parse_toml(file)
    variables = environment()
    problems += [*environment.problems, *_unknown_environment(model, prefix)]
    merged = _merge(_merge(document, variables), nested)
    return Layers(file, merged, tuple(problems), prefix, lines, nested, variables)


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


def _variable_of(key: str, prefix: str) -> str:
    """The variable that set it: its own, or that of a table or array above it, as JSON."""
    names = {name.upper(): name for name in os.environ}
    for place in _from_key_up(key):
        wanted = (prefix + place.replace(".", DELIMITER)).upper()
        if wanted in names:
            return names[wanted]
    # A table of which only other keys have variables.
    return f"{prefix}{key.replace('.', DELIMITER).upper()}{DELIMITER}..."


def _merge(weaker: Table, stronger: Table) -> Table:
    """Tables are merged, anything else is replaced."""
    merged = dict(weaker)
    for key, value in stronger.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


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


class _Environment(EnvSettingsSource):
    """The variables as tables; what is not JSON where it must be is left out and listed."""

    def __init__(self, model: type[BaseModel], prefix: str) -> None:
        config = SettingsConfigDict(
            env_prefix=prefix, env_nested_delimiter=DELIMITER, extra="forbid"
        )
        super().__init__(type("Settings", (model, BaseSettings), {"model_config": config}))
        self.problems: list[Problem] = []
        self._prefix = prefix

    def prepare_field_value(
        self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool
    ) -> Any:
        try:
            return super().prepare_field_value(field_name, field, value, value_is_complex)
        except ValueError as error:
            source = f"environment {_variable_of(field_name, self._prefix)}"
            self.problems.append(Problem(field_name, f"must be JSON: {error}", source))
            return None


def _unknown_environment(model: type[BaseModel], prefix: str) -> list[Problem]:
    """Variables that name no key. Only nested ones and those that look misspelt: a container host
    may have set others, such as OVERLANE_PORT for a service called overlane. Keys of known tables
    are checked with the tables."""
    problems = []
    for variable in sorted(os.environ):
        name = variable.upper()
        is_of_another = prefix == NODE_PREFIX and name.startswith(BRAIN_PREFIX)
        if not name.startswith(prefix) or is_of_another:
            continue
        part, nested, _ = name.removeprefix(prefix).lower().partition(DELIMITER)
        if part in model.model_fields:
            continue
        text = suggestion(part, tuple(model.model_fields))
        if nested or "did you mean" in text:
            problems.append(Problem("", f"unknown key{text}", f"environment {variable}"))
    return problems
