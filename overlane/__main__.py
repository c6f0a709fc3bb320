"""The command line: it parses arguments and calls the rest.

Exit codes: 0 done; 1 failed, or done but for what standard error names; 2 bad arguments or a bad
configuration; 128 + N ended by signal N.
"""

# ruff: noqa: E402
import signal

# Until a command has its own handlers, an interrupt ends the process without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
import uvloop
from pydantic import ValidationError

from overlane import controller_commands, paths, streams
from overlane.bench_command import bench
from overlane.doctor.command import doctor
from overlane.lab_command import demo, lab
from overlane.status_command import status
from overlane.terminal import fail as _fail
from overlane.terminal import print_json as _print_json
from overlane.terminal import settings_of

T = TypeVar("T")

app = typer.Typer(
    name="overlane",
    help="An overlay network for live video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(controller_commands.controller)
app.add_typer(controller_commands.token, name="token")

app.command()(doctor)
app.command()(status)
app.command()(lab)
app.command()(demo)
app.command()(bench)
app.add_typer(paths.app)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def _run(main: Coroutine[Any, Any, T]) -> T:
    return uvloop.run(main)


def _told(problems: list[str]) -> None:
    """What went wrong beside the work itself, and the exit code for it."""
    for problem in problems:
        typer.echo(f"overlane: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


def _first_problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'options'}: "
        f"{problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors()
    )


@app.command()
def relay(
    config: Annotated[Path, typer.Option(help="TOML configuration of the node.")],
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set one key, as in admin.listen=127.0.0.1:0."
        ),
    ] = None,
) -> None:
    """Run a node."""
    from relay.daemon import run

    raise typer.Exit(run(config, settings_of(setting)))


@app.command("check-config")
def check_config(
    files: Annotated[list[Path], typer.Argument(help="TOML configurations of nodes and brains.")],
    as_json: Json = False,
) -> None:
    """Check configurations: every problem with its file, line and key."""
    from controller.config_file import is_controller_file
    from controller.config_file import load as load_controller
    from relay.config_file import load
    from service.errors import ConfigError

    problems: list[dict[str, str]] = []
    for file in files:
        try:
            (load_controller if is_controller_file(file) else load)(file)
        except ConfigError as error:
            problems += [
                {"source": p.source, "key": p.key, "problem": p.text} for p in error.problems
            ]
    if as_json:
        _print_json({"files": [str(file) for file in files], "problems": problems})
    else:
        for problem in problems:
            typer.echo(": ".join(filter(None, problem.values())), err=True)
        if not problems:
            typer.echo(f"{len(files)} configuration{'s are' if len(files) > 1 else ' is'} fine")
    if problems:
        raise typer.Exit(1)


@app.command()
def publish(
    stream: Annotated[str, typer.Argument(help="Name of the stream.")],
    to: Annotated[str, typer.Option(help="The producer node's video port, host:port.")],
    audio_to: Annotated[str | None, typer.Option(help="Its audio port.")] = None,
    source: Annotated[
        Path | None, typer.Option(help="A media file; default: a moving pattern and a tone.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Send the file's H.264 as it is.")] = False,
    seconds: Annotated[float | None, typer.Option(help="How long; default: to the end.")] = None,
    audio: Annotated[bool, typer.Option(help="Send audio.")] = True,
    width: Annotated[int | None, typer.Option()] = None,
    height: Annotated[int | None, typer.Option()] = None,
    fps: Annotated[int | None, typer.Option()] = None,
    bitrate_bps: Annotated[int, typer.Option()] = 1_500_000,
    gop_s: Annotated[float, typer.Option(help="Time between key frames.")] = 2.0,
    b_frames: Annotated[int, typer.Option()] = 0,
    zerolatency: Annotated[bool, typer.Option(help="x264's tune=zerolatency.")] = True,
    max_payload_bytes: Annotated[int, typer.Option(help="Largest RTP payload.")] = 1200,
    manifest: Annotated[Path | None, typer.Option(help="Where to write what was sent.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Makes SSRCs, numbers and the pattern repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Broadcast a file or a generated picture and tone, as an encoder would."""
    from overlane.publish.errors import PublishError
    from overlane.publish.options import PublishOptions
    from overlane.publish.session import publish as run_publish

    try:
        options = PublishOptions(
            stream=stream, to=to, audio_to=audio_to, source=source, copy_video=copy,
            seconds=seconds, audio=audio, width=width, height=height, fps=fps,
            bitrate_bps=bitrate_bps, gop_s=gop_s, b_frames=b_frames, zerolatency=zerolatency,
            max_payload_bytes=max_payload_bytes, manifest=manifest, seed=seed,
        )  # fmt: skip
    except ValidationError as error:
        raise _fail(_first_problems(error), 2) from None
    try:
        report = _run(run_publish(options, None if as_json else _publish_progress))
    except PublishError as error:
        raise _fail(error) from None
    if as_json:
        _print_json(report)
    else:
        _publish_line(report)
    _told(report.problems)


def _publish_progress(report: Any) -> None:
    if streams.can_write_now():
        _publish_line(report)


def _publish_line(report: Any) -> None:
    typer.echo(
        f"{report.stream}: {report.seconds:.0f} s, {report.frames} frames, "
        f"{report.packets_sent} packets, {report.video_bps / 1e6:.2f} Mbit/s video"
        + ("" if report.ended == "running" else f", {report.ended}")
    )


@app.command()
def play(
    stream: Annotated[str, typer.Argument(help="Name of the stream.")],
    node: Annotated[str, typer.Option(help="The consumer node's admin address, http://host:port.")],
    manifest: Annotated[Path | None, typer.Option(help="What the publisher wrote.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long; default: to the end.")] = None,
    idle_seconds: Annotated[float, typer.Option(help="Silence that ends the viewing.")] = 3.0,
    wait_seconds: Annotated[float, typer.Option(help="How long to wait for the stream.")] = 5.0,
    listen: Annotated[str, typer.Option(help="Local address that RTP is sent to.")] = "127.0.0.1",
    audio: Annotated[bool, typer.Option(help="Receive audio.")] = True,
    save: Annotated[Path | None, typer.Option(help="Matroska file for what is received.")] = None,
    picture: Annotated[Path | None, typer.Option(help="PNG of the last decoded frame.")] = None,
    as_json: Json = False,
) -> None:
    """Watch a stream and say how much of it was whole and in time."""
    from overlane.play import PlayError, PlayOptions
    from overlane.play import play as run_play

    try:
        options = PlayOptions(
            stream=stream, node=node, manifest=manifest, seconds=seconds, idle_seconds=idle_seconds,
            wait_seconds=wait_seconds, listen=listen, audio=audio, save=save, picture=picture,
        )  # fmt: skip
    except ValidationError as error:
        raise _fail(_first_problems(error), 2) from None
    try:
        report = _run(run_play(options, None if as_json else _play_progress))
    except PlayError as error:
        raise _fail(error) from None
    if as_json:
        _print_json(report)
    else:
        for name, value in msgspec.to_builtins(report).items():
            typer.echo(f"{name:26} {value}")
    _told(report.problems)


def _play_progress(progress: Any) -> None:
    if not streams.can_write_now():
        return
    typer.echo(
        f"{progress.seconds:.0f} s, {progress.state}: {progress.frames_whole} frames whole, "
        f"{progress.packets_received} video packets, {progress.packets_lost} missing"
    )


def main() -> None:
    """Entry point of the `overlane` command."""
    streams.make_lenient()
    try:
        app()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.exit(streams.finish(status))


if __name__ == "__main__":
    main()
