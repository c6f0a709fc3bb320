"""The command line of a daemon: its configuration and single keys that override it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping

Run = Callable[[str, Mapping[str, object]], int]


def parse_settings(settings: Iterable[str]) -> dict[str, object]:
    """Values by key path, of "KEY=VALUE" as --set takes them. Raises ValueError."""
    found: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise ValueError(f"--set {setting}: give KEY=VALUE")
        found[key] = value
    return found


def run_daemon(program: str, description: str, run: Run) -> int:
    """Parse the process's arguments and run; the exit status."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--config", required=True, metavar="FILE", help="TOML configuration")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set one key, for example log.level=debug (repeatable)",
    )
    arguments = parser.parse_args()
    try:
        overrides = parse_settings(arguments.set)
    except ValueError as error:
        parser.error(str(error))
    return run(arguments.config, overrides)
