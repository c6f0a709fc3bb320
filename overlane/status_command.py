"""The command `overlane status`: of nodes, or of the whole overlay; once, or refreshed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from overlane.http_json import AnswerError
from overlane.publish.signals import call_on_signals
from overlane.terminal import fail, print_json

WATCH_S = 2.0

Fetch = Callable[[], Awaitable[tuple[Any, RenderableType]]]


def status(
    urls: Annotated[
        list[str] | None, typer.Argument(help="Admin addresses of nodes, as 127.0.0.1:8080.")
    ] = None,
    brain: Annotated[
        str | None, typer.Option(help="The brain's HTTP API, http://host:port: the whole overlay.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show what nodes do (links, streams, viewers, memory), or with --brain the whole overlay."""
    if (brain is None) == (not urls):
        raise fail("give admin addresses of nodes, or --brain URL", 2)
    if watch and as_json:
        raise fail("--watch is for the eye: it cannot be JSON", 2)

    async def ask() -> tuple[Any, RenderableType]:
        if brain is not None:
            from overlane.overlay_status import fetch_overlay
            from overlane.overlay_view import render as render_overlay

            overlay = await fetch_overlay(brain)
            return overlay.raw, render_overlay(overlay)
        from overlane.status import fetch, render

        found = await fetch(urls or [])
        return found, Group(*map(render, found))

    console = Console(markup=False, emoji=False, highlight=False)  # the texts are the nodes'
    try:
        if watch:
            uvloop.run(_watch(ask, console))
        found, view = uvloop.run(_once(ask))
    except AnswerError as error:
        raise fail(error) from None
    if as_json:
        print_json(found)
    else:
        console.print(view)


async def _once(ask: Fetch) -> tuple[Any, RenderableType]:
    return await ask()


async def _watch(ask: Fetch, console: Console) -> None:
    """Until a signal. The first answer must come; later ones may fail, which is shown."""
    stopped: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()

    def stop(number: signal.Signals) -> None:
        if not stopped.done():
            stopped.set_result(number)

    with call_on_signals(stop):
        _, view = await ask()
        with _Screen(console) as screen:
            screen.show(view)
            while not (await asyncio.wait((stopped,), timeout=WATCH_S))[0]:
                try:
                    _, view = await ask()
                    screen.show(view)
                except AnswerError as error:
                    stale = Text(f"as it was; now: {error}", style="bold red")
                    screen.show(Group(stale, view))
    raise typer.Exit(128 + stopped.result())


class _Screen(AbstractContextManager["_Screen"]):
    """A terminal's whole screen, given back at the end; elsewhere one view after another."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, screen=True)

    def show(self, view: RenderableType) -> None:
        if self._console.is_terminal:
            self._live.update(view, refresh=True)
        else:
            self._console.print(view)

    def __enter__(self) -> _Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
