"""Reads a brain's configuration: its layers, then the files that they name.

Environment variables begin with OVERLANE_BRAIN_, so that a node on the same host is not meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from controller.config import ControllerConfig
from service.config_layers import BRAIN_PREFIX, read_layers
from service.errors import ConfigError, Problem
from service.toml_file import Table, parse_toml, read_text

MAX_HASH_BYTES = 4096  # chosen: a hash is 64 digits; what is longer is another file
_FILES = ("certificate_file", "key_file", "client_ca_file", "state_dir")
_KEYS_OF_BRAIN = ("state_dir", "nodes", "mesh", "api")  # top level; a node's has none of them


def load(path: Path | str, overrides: Mapping[str, object] | None = None) -> ControllerConfig:
    """The configuration in a file.

    overrides: flags by key path ("api.listen"), stronger than environment and file.
    Raises ConfigError with every problem: where it comes from, the key path, what is wrong.
    """
    file = Path(path)
    layers = read_layers(file, overrides or {}, ControllerConfig, BRAIN_PREFIX)
    problems = list(layers.problems)
    complete, unreadable = _with_hashes(_beside(layers.merged, file), file)
    config: ControllerConfig | None = None
    try:
        config = ControllerConfig.model_validate(complete)
    except ConfigError as error:
        problems += error.problems
    problems += unreadable
    if problems or config is None:
        raise ConfigError(replace(p, source=p.source or layers.source_of(p.key)) for p in problems)
    return config


def is_controller_file(path: Path) -> bool:
    """Whether a file is a brain's configuration rather than a node's. Raises ConfigError."""
    document, _ = parse_toml(path)
    return any(key in document for key in _KEYS_OF_BRAIN)


def _beside(merged: Table, file: Path) -> Table:
    """Files are found from the configuration file."""
    names = {key: merged[key] for key in _FILES if isinstance(merged.get(key), str)}
    return {**merged, **{key: str(file.parent / name) for key, name in names.items()}}


def _with_hashes(merged: Table, file: Path) -> tuple[Table, list[Problem]]:
    """The nodes with their tokens' hashes in place of the files that hold them."""
    nodes = merged.get("nodes")
    if not isinstance(nodes, list):
        return merged, []
    problems: list[Problem] = []
    read: list[object] = []
    for index, node in enumerate(nodes):
        read.append(node)
        if not isinstance(node, dict) or "token_hash" in node:
            continue
        name = node.get("token_hash_file")
        if not isinstance(name, str):
            continue
        try:
            found = read_text(file.parent / name, MAX_HASH_BYTES).strip()
        except ConfigError as error:
            (problem,) = error.problems
            key = f"nodes[{index}].token_hash_file"
            problems.append(Problem(key, f"{problem.source}: {problem.text}"))
            continue
        kept = {key: value for key, value in node.items() if key != "token_hash_file"}
        read[-1] = {**kept, "token_hash": found}
    return {**merged, "nodes": read}, problems
