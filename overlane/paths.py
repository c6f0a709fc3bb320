"""`overlane paths`: which way streams take, and why that one."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer
import uvloop
from rich.console import Console

from controller.core.answers import PathReport, PathReports, Stream
from overlane.http_json import AnswerError, JsonClient
from overlane.terminal import fail, print_json

BRAIN_HINT = "is this the address of the brain's HTTP API?"

app = typer.Typer(name="paths", help="Which way streams take, and why.", no_args_is_help=True)

Brain = Annotated[str, typer.Option(help="The brain's HTTP API, http://host:port.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def explain(
    stream: Annotated[str, typer.Argument(help="Name of the stream.")],
    brain: Brain,
    consumer: Annotated[
        str | None, typer.Option(help="A node; left out: all that have the stream.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a stream's path as measured, what the brain would choose, and why not another."""
    try:
        found, explanations = uvloop.run(fetch_explanations(brain, stream, consumer))
    except AnswerError as error:
        raise fail(error) from None
    if as_json:
        print_json(found)
        return
    from overlane.paths_view import explanation

    console = Console(markup=False, emoji=False, highlight=False)
    for each in explanations:
        console.print(explanation(each))
    if not explanations:
        console.print(f"{stream}: no node but its producer has it or wants it")


@app.command("list")
def list_paths(brain: Brain, as_json: Json = False) -> None:
    """List the streams, and the way each takes to each node."""
    try:
        found, streams = uvloop.run(fetch_streams(brain))
    except AnswerError as error:
        raise fail(error) from None
    if as_json:
        print_json(found)
        return
    from overlane.paths_view import listing

    Console(markup=False, emoji=False, highlight=False).print(listing(streams))


async def fetch_explanations(
    brain: str, stream: str, consumer: str | None
) -> tuple[Any, tuple[PathReport, ...]]:
    """As the brain says it, and parsed. Raises AnswerError."""
    query = {"consumer": consumer} if consumer is not None else None
    async with JsonClient("brain", BRAIN_HINT) as client:
        found = await client.get(brain, f"/paths/{quote(stream, safe='')}", query)
        if consumer is not None:
            return found, (client.convert(brain, found, PathReport),)
        return found, client.convert(brain, found, PathReports).paths


async def fetch_streams(brain: str) -> tuple[Any, tuple[Stream, ...]]:
    """As the brain says it, and parsed. Raises AnswerError."""
    async with JsonClient("brain", BRAIN_HINT) as client:
        found = await client.get(brain, "/streams")
        return found, client.convert(brain, found, tuple[Stream, ...])
