"""Carries broadcasts of real clients and prints what came of them.

    .venv/bin/python -m tests.clients.run --seconds 60 --json

The directory keeps what every node and client printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.clients import viewing, viewing_cases
from tests.clients.broadcast import CASES, Outcome, carry

NAMES = [case.name for case in (*CASES, *viewing_cases.CASES)]


def line_of(outcome: Outcome) -> str:
    video, audio, packets = outcome.video, outcome.audio, outcome.packets
    return (
        f"{outcome.case}: {video.intact} of {video.sent} frames intact, {video.damaged} damaged, "
        f"{audio.intact} of {audio.sent} sound packets; {packets.lost} packets lost between nodes, "
        f"{packets.sent_again} sent again to the player; picture {outcome.lip_sync.median_ms} ms "
        f"after sound (worst {outcome.lip_sync.worst_ms})\n"
    )


def line_of_viewing(outcome: viewing.Outcome) -> str:
    video, tracks = outcome.video, outcome.tracks["video"]
    sent = outcome.wire.tracks["video"]
    rtx = outcome.player.get("rtx", {}).get("num-rtx-assoc-packets", 0)
    return (
        f"{outcome.case}: {sum(video.intact)} of {sent.frames} frames intact "
        f"({'+'.join(map(str, video.intact))}), {video.damaged} damaged, {outcome.decode_errors} "
        f"decode errors; {outcome.lost} packets lost, {tracks['resent']} sent again, {rtx} "
        f"recovered by RTX; longest step {sent.longest_step_ms} ms; "
        f"target {outcome.rate['target_bps'] // 1000} kbit/s\n"
    )


async def run(options: argparse.Namespace, into: Path) -> None:
    """Write a line each, and summary.json in the directory."""
    outcomes = []
    for broadcast in CASES:
        if not options.case or broadcast.name in options.case:
            outcome = await carry(
                broadcast,
                options.seconds,
                options.loss,
                into / broadcast.name,
                options.seed,
                repair=not options.no_repair,
            )
            outcomes.append(asdict(outcome))
            sys.stderr.write(line_of(outcome))
    for case in viewing_cases.CASES:
        if not options.case or case.name in options.case:
            seen = await viewing.carry(case, options.seconds, into / case.name, options.seed)
            outcomes.append(asdict(seen))
            sys.stderr.write(line_of_viewing(seen))
    (into / "summary.json").write_text(json.dumps(outcomes, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="*", choices=[[], *NAMES], help="only these")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--loss", type=float, default=0.01, help="on each link between nodes")
    parser.add_argument("--seed", type=int, default=1, help="of the links' luck")
    parser.add_argument("--no-repair", action="store_true", help="what the losses would do")
    parser.add_argument("--directory", type=Path, help="instead of a new one in /tmp")
    parser.add_argument("--json", action="store_true", help="the summary on standard output")
    options = parser.parse_args()
    into = options.directory or Path(tempfile.mkdtemp(prefix="overlane-clients-"))
    asyncio.run(run(options, into))
    if options.json:
        sys.stdout.write((into / "summary.json").read_text())


if __name__ == "__main__":
    main()
