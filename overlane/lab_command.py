"""The commands `overlane lab` and `overlane demo`: run, show, report."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import uvloop
from rich.console import Console
from rich.live import Live

from lab.errors import LabError
from overlane.terminal import fail, print_json

T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_REFRESHES_PER_S = 4
_SHORTEST_DEMO_S = 8  # chosen: all join, and there is time before and after the cut


def lab(
    file: Annotated[Path, typer.Argument(help="A scenario, as in lab/scenarios/.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory for configurations, logs and manifests.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the file's.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Instead of the file's duration.")
    ] = None,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="In virtual time: no processes, no sockets.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a scenario with real processes or, with --virtual, in virtual time, and hold what it
    found against what the file expects.

    Exit code 1 if an expectation failed.
    """
    from lab.realtime.run import RunOptions, run_scenario
    from lab.scenario.loader import load_scenario
    from lab.scenario.rendering import render
    from lab.virtual.run import run_virtual
    from service.errors import ConfigError

    try:
        scenario = load_scenario(file)
    except ConfigError as error:
        for problem in error.problems:
            parts = (problem.source, problem.key, problem.text)
            typer.echo(": ".join(filter(None, parts)), err=True)
        raise typer.Exit(2) from None
    changes: dict[str, object] = {}
    if seed is not None:
        changes["seed"] = seed
    if seconds is not None:
        changes["duration_s"] = seconds
    scenario = scenario.model_copy(update=changes)
    if virtual:
        report = run_virtual(scenario)
    else:
        options = RunOptions(directory=_directory(out, "overlane-lab-"))
        report = run_shown(
            lambda show: run_scenario(scenario, options, show), options.directory, as_json=as_json
        )
    if as_json:
        print_json(report)
    else:
        _console(as_json).print(render(report))
    if not report.is_as_expected:
        raise typer.Exit(1)


def demo(
    seconds: Annotated[
        float, typer.Option(min=_SHORTEST_DEMO_S, help="Length of the broadcast.")
    ] = 45.0,
    loss: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of packets lost on each link.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(help="Decides which packets are lost.")] = 1,
    repair: Annotated[bool, typer.Option(help="--no-repair shows the difference.")] = True,
    source: Annotated[Path | None, typer.Option(help="A media file to broadcast.")] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Send the file's H.264 as it is.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Directory for pictures, logs and configurations.")
    ] = None,
    as_json: Json = False,
) -> None:
    """A real broadcast over eight cities on this machine; a link it uses is cut on the way."""
    from lab.demo import DemoOptions, run_demo
    from lab.demo_report import render

    if source is not None:
        _check_readable(source)
    elif copy:
        raise fail("--copy needs --source", 2)
    options = DemoOptions(
        directory=_directory(out, "overlane-demo-"),
        seconds=seconds,
        loss=loss,
        seed=seed,
        repair=repair,
        source=source,
        copy_video=copy,
    )
    report = run_shown(lambda show: run_demo(options, show), options.directory, as_json=as_json)
    if as_json:
        print_json(report)
    else:
        _console(as_json).print(render(report))
    if not report.is_whole:
        raise typer.Exit(1)


def run_shown(run: Callable[[Any], Coroutine[Any, Any, T]], directory: Path, *, as_json: bool) -> T:
    """The result of `run`, which is given where to show its scenes: a live picture in a terminal,
    lines elsewhere; on standard error if standard output is for JSON."""
    from overlane.lab_view import LabView

    console = _console(as_json)
    view = LabView(console)
    try:
        if not console.is_terminal:
            return uvloop.run(_until_signal(run(view.show_line)))
        with Live(view, console=console, refresh_per_second=_REFRESHES_PER_S, transient=True):
            return uvloop.run(_until_signal(run(view.show)))
    except LabError as error:
        raise fail(f"{error} (logs: {directory})") from None


def _console(as_json: bool) -> Console:
    return Console(stderr=as_json, markup=False, emoji=False, highlight=False)


def _check_readable(source: Path) -> None:
    """Before any process is started for it."""
    try:
        source.open("rb").close()
    except OSError as error:
        raise fail(f"--source {source}: {error.strerror}", 2) from None


def _directory(out: Path | None, prefix: str) -> Path:
    try:
        return out or Path(tempfile.mkdtemp(prefix=prefix))
    except OSError as error:
        raise fail(f"no directory for temporary files ({error}); give one with --out") from None


async def _until_signal(main: Coroutine[Any, Any, T]) -> T:
    """The result of `main`, which is cancelled, and cleans up, when a signal comes."""
    from overlane.publish.signals import call_on_signals

    task = asyncio.ensure_future(main)
    received: list[int] = []

    def stop(number: signal.Signals) -> None:
        received.append(number)
        task.cancel()

    with call_on_signals(stop):
        try:
            return await task
        except asyncio.CancelledError:
            raise typer.Exit(128 + received[0]) from None
