"""Reads a node's configuration: its layers, then the files that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from control_client.tokens import is_token
from relay.config import NodeConfig
from relay.config_sdp import tracks_of
from rtp.errors import RtpError
from service.config_layers import NODE_PREFIX, read_layers
from service.errors import ConfigError, Problem
from service.toml_file import MAX_FILE_BYTES, Table, read_text

MAX_SECRET_BYTES = 4096  # chosen: a secret is 64 digits; what is longer is another file

_CONTROLLER_FILES = ("ca_file", "certificate_file", "key_file", "table_file")


def load(path: Path | str, overrides: Mapping[str, object] | None = None) -> NodeConfig:
    """The configuration in a file.

    overrides: flags by key path ("admin.listen"), stronger than environment and file.
    Raises ConfigError with every problem: where it comes from, the key path, what is wrong.
    """
    file = Path(path)
    layers = read_layers(file, overrides or {}, NodeConfig, NODE_PREFIX)
    problems = list(layers.problems)
    config: NodeConfig | None = None
    with_secrets, secret_files, unreadable = _read_secrets(layers.merged, file)
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
