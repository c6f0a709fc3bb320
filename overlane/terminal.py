"""How commands answer: JSON on standard output, a failure in one line on standard error."""

import json
import sys
from collections.abc import Iterable

import msgspec
import typer

from service.command_line import parse_settings


def print_json(value: object) -> None:
    """A file's name need not be UTF-8; the standard library writes such as escapes."""
    sys.stdout.write(json.dumps(msgspec.to_builtins(value), indent=2) + "\n")


def fail(message: object, status: int = 1) -> typer.Exit:
    """To be raised: says the line, then ends the command."""
    typer.echo(f"overlane: {message}", err=True)
    return typer.Exit(status)


def settings_of(texts: Iterable[str] | None) -> dict[str, object]:
    """What `--set` was given."""
    try:
        return parse_settings(texts or ())
    except ValueError as error:
        raise fail(error, 2) from None
