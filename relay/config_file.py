"""Reads a configuration: a TOML file, then the environment, then flags; the later one wins.

OVERLANE_NAME sets `name`, OVERLANE_ADMIN__LISTEN sets `admin.listen`; lists are given as JSON.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from relay.config import NodeConfig
from relay.config_sdp import tracks_of
from relay.errors import ConfigError, Problem
from rtp.errors import RtpError

ENVIRONMENT_PREFIX = "OVERLANE_"
DELIMITER = "__"


def load(path: Path | str, overrides: Mapping[str, object] | None = None) -> NodeConfig:
    """The configuration in a file.

    overrides: flags by key path ("admin.listen"), stronger than environment and file.
    Raises ConfigError with every problem: where it comes from, the key path, what is wrong.
    """
    file = Path(path)
    flags = overrides or {}
    unreadable: list[Problem] = []
    layers = _layers(file, unreadable)
    problems = _unknown_environment()
    try:
        _parse_file(file)
        config = layers(**_nested(flags))
    except ConfigError as error:
        problems += error.problems
    except SettingsError as error:
        problems.append(Problem("", str(error), "environment"))
    problems += unreadable
    if problems:
        raise ConfigError(
            Problem(p.key, p.text, p.source or _source_of(p.key, file, flags)) for p in problems
        )
    return NodeConfig.model_validate(config.model_dump())


def _parse_file(file: Path) -> None:
    try:
        with file.open("rb") as stream:
            tomllib.load(stream)
    except OSError as error:
        raise ConfigError([Problem("", error.strerror or "cannot be read", str(file))]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("", f"is not TOML: {error}", str(file))]) from None


def _layers(file: Path, unreadable: list[Problem]) -> type[NodeConfig]:
    """A NodeConfig that fills itself from `file` and the environment.

    Secret and SDP files that cannot be read are added to `unreadable`.
    """

    class Layers(NodeConfig, BaseSettings):
        model_config = SettingsConfigDict(
            frozen=True,
            extra="forbid",
            env_prefix=ENVIRONMENT_PREFIX,
            env_nested_delimiter=DELIMITER,
            hide_input_in_errors=True,
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            toml = TomlConfigSettingsSource(settings_cls, toml_file=file)
            return init_settings, env_settings, toml

        @model_validator(mode="before")
        @classmethod
        def _read_named_files(cls, data: Any) -> Any:
            for key, read in (("neighbours", _with_secret), ("ingests", _with_tracks)):
                tables = data.get(key)
                if isinstance(tables, list):
                    found = [read(table, i, file, unreadable) for i, table in enumerate(tables)]
                    data = {**data, key: found}
            return data

    return Layers


def _with_secret(neighbour: Any, index: int, file: Path, unreadable: list[Problem]) -> Any:
    """A neighbour's table with its secret file's content in place of the name."""
    if not isinstance(neighbour, dict) or "secret" in neighbour:
        return neighbour
    name = neighbour.get("secret_file")
    if not isinstance(name, str):
        return neighbour
    try:
        secret = (file.parent / name).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        key = f"neighbours[{index}].secret_file"
        unreadable.append(Problem(key, f"{file.parent / name}: {reason}"))
        return neighbour
    kept = {key: value for key, value in neighbour.items() if key != "secret_file"}
    return {**kept, "secret": secret}


def _with_tracks(ingest: Any, index: int, file: Path, unreadable: list[Problem]) -> Any:
    """An ingest's table with the tracks that its SDP file describes."""
    if not isinstance(ingest, dict) or not isinstance(ingest.get("sdp_file"), str):
        return ingest
    key = f"ingests[{index}].sdp_file"
    if "tracks" in ingest:
        unreadable.append(Problem(key, "give sdp_file or tracks, not both"))
        return ingest
    path = file.parent / ingest["sdp_file"]
    try:
        tracks = tracks_of(path.read_text("utf-8"), str(ingest.get("sdp_listen", "0.0.0.0")))
    except (OSError, ValueError, RtpError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        unreadable.append(Problem(key, f"{path}: {reason}"))
        tracks = []
    return {**ingest, "tracks": tracks}


def _nested(flags: Mapping[str, object]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flags.items():
        *parents, last = key.split(".")
        table = tree
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    return tree


def _unknown_environment() -> list[Problem]:
    """Nested variables of no known part; the parts themselves check what is below them."""
    return [
        Problem(name, "unknown key", "environment")
        for name in sorted(os.environ)
        if name.startswith(ENVIRONMENT_PREFIX)
        and DELIMITER in name
        and name.removeprefix(ENVIRONMENT_PREFIX).split(DELIMITER)[0].lower()
        not in NodeConfig.model_fields
    ]


def _source_of(key: str, file: Path, flags: Mapping[str, object]) -> str:
    plain = key.split("[")[0]
    if any(plain == flag or plain.startswith(f"{flag}.") for flag in flags):
        return "flag"
    if ENVIRONMENT_PREFIX + plain.replace(".", DELIMITER).upper() in os.environ:
        return "environment"
    return str(file)
