"""A file as a subject: a node's configuration or a brain's, told by what stands in it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.config_file import is_controller_file
from overlane.doctor.check import problem
from overlane.doctor.files import why_unreadable
from overlane.doctor.of_brain import of_brain
from overlane.doctor.of_node import of_node
from overlane.doctor.subject import Subject
from service.errors import ConfigError

MAX_FILE_BYTES = 1 << 20


def subject_of(file: Path) -> Subject:
    """Of a configuration that is no use, only what is wrong with it."""
    if (reason := why_unreadable(file)) is not None:
        return Subject(configuration=(problem("file", *reason),))
    subject = of_brain if _is_brains(file) else of_node
    return subject(file, _tables(file))


def _is_brains(file: Path) -> bool:
    """What is not TOML is taken for a node's, and refused as such."""
    try:
        return is_controller_file(file)
    except ConfigError:
        return False


def _tables(file: Path) -> Mapping[str, Any]:
    """As far as it is TOML; `load` says what is not."""
    try:
        with file.open("rb") as stream:
            return tomllib.loads(stream.read(MAX_FILE_BYTES).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
