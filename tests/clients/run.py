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

from tests.clients.broadcast import CASES, Outcome, carry


def line_of(outcome: Outcome) -> str:
    video, audio, packets = outcome.video, outcome.audio, outcome.packets
    return (
        f"{outcome.case}: {video.intact} of {video.sent} frames intact, {video.damaged} damaged, "
        f"{audio.intact} of {audio.sent} sound packets; {packets.lost} packets lost between nodes, "
        f"{packets.sent_again} sent again to the player; picture {outcome.lip_sync.median_ms} ms "
        f"after sound (worst {outcome.lip_sync.worst_ms})\n"
    )


async def run(options: argparse.Namespace, into: Path) -> None:
    """Write a line each, and summary.json in the directory."""
    outcomes = []
    for case in CASES:
        if not options.case or case.name in options.case:
            outcome = await carry(
                case,
                options.seconds,
                options.loss,
                into / case.name,
                options.seed,
                repair=not options.no_repair,
            )
            outcomes.append(asdict(outcome))
            sys.stderr.write(line_of(outcome))
    (into / "summary.json").write_text(json.dumps(outcomes, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "case", nargs="*", choices=[[], *(c.name for c in CASES)], help="only these"
    )
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
