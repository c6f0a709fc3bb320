"""What does one viewer's slow link cost it, and the others?

Fifty viewers of a broadcast at two bitrates, in virtual time, with real nodes and engines. The link
of one falls from 4 to 1 Mbit/s for 10 s. Checked frame by frame: what it is not sent is, in this
order, b frames that nothing refers to, P frames up to a key frame, whole GoPs; nothing undecodable
is sent behind a P frame that was left out; no audio is lost; how long its queue is; when it is back
at the better bitrate. The same with one bitrate only, where it has to do with less of it. The
others' delay is compared with a run in which nothing happens. In virtual time engines take no time:
that says that nothing waits behind the slow viewer, not what its work costs.

JSON on stdout. About a minute.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

import itertools

from bench.support.environment import environment
from bench.support.show import Show, ingest
from lab.pictures import TEXT, Pictures, Piece, in_order, piece_of, undecodable, whole_frames
from relay.edge.plain_rtp import Viewer
from relay.events import VersionChanged
from relay.messages import version_name
from service.address import Address

QUESTION = "What does one viewer's slow link cost it, and the others?"
NAME = "show"
VERSIONS_BPS = (2_400_000, 600_000)
FRAME_US, GOP_FRAMES, PATTERN = 33_333, 60, "PbPb"
WEIGHTS = {"K": 5.0, "P": 1.25, "b": 0.6}  # of the mean frame
AUDIO_US = 20_000
FAST_BPS, SLOW_BPS = 4_000_000, 1_000_000
BEFORE_US, SLOW_US, AFTER_US = 6_700_000, 10_000_000, 8_000_000
BOUNDS = {"queue_ms": 500.0, "back_after_s": 5.0, "others_p99_ms": 1.0}


@dataclass
class Run:
    """What was sent to whom, and when each frame was made."""

    bitrates_bps: Sequence[int]
    video: dict[int, list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))
    audio: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    made_us: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    audio_sent: int = 0
    queue_us: int = 0
    queue_bytes: int = 0
    stats: dict[str, int] = field(default_factory=dict)
    versions: list[tuple[int, int]] = field(default_factory=list)  # when, which
    slow_until_us: int = 0

    def on_sent(self, now_us: int, to: Address, data: bytes) -> None:
        """RTP to a viewer."""
        number = int(to[0].rsplit(".", 1)[1])
        if to[1] == 6004:
            self.video[number].append((now_us, data))
        else:
            self.audio[number].append(data)

    def look(self, show: Show, viewer: Viewer) -> None:
        """At the first viewer's queue."""
        if (leg := viewer.legs.get("video")) is not None:
            stats = show.edge.engine.cursor_stats(leg.cursor)
            self.queue_us = max(self.queue_us, stats.lag_us)
            self.queue_bytes = max(self.queue_bytes, stats.lag_bytes)


def version_of(packet: bytes) -> int:
    """Which bitrate's it is."""
    return int(packet[14 + TEXT :].split(b".", 1)[0])


def play(bitrates_bps: Sequence[int], viewers: int, *, falls: bool) -> Run:
    """One run; the first viewer's link falls, if it is to."""
    run = Run(bitrates_bps)
    show = Show([ingest(NAME, 5000, bitrates_bps)], run.on_sent)
    show.run_until(show.now_us + 500_000)
    encoders = [
        Pictures(first_timestamp=7 << 28, ssrc=version + 1, name=str(version))
        for version in range(len(bitrates_bps))
    ]
    audience = [show.add_viewer(number, NAME) for number in range(viewers)]
    show.run_until(show.now_us + 200_000)
    for viewer in audience:
        set_rate(show, viewer, FAST_BPS)
    begin_us = show.now_us
    run.slow_until_us = begin_us + BEFORE_US + SLOW_US
    falls_at = [(begin_us + BEFORE_US, SLOW_BPS), (run.slow_until_us, FAST_BPS)] if falls else []
    end_us = run.slow_until_us + AFTER_US
    next_frame_us = next_audio_us = begin_us
    while show.now_us < end_us:
        if falls_at and show.now_us >= falls_at[0][0]:
            set_rate(show, audience[0], falls_at.pop(0)[1])
        if show.now_us >= next_frame_us:
            send_frame(show, encoders, bitrates_bps, run)
            next_frame_us += FRAME_US
        if show.now_us >= next_audio_us:
            send_audio(show, run.audio_sent)
            run.audio_sent += 1
            next_audio_us += AUDIO_US
        due_us = [next_frame_us, next_audio_us, *(at_us for at_us, _ in falls_at[:1])]
        show.run_until(min(due_us))
        run.look(show, audience[0])
    show.run_until(show.now_us + 500_000)
    run.kinds = encoders[0].frames
    changes = [(at_us, e.version) for at_us, e in show.events if isinstance(e, VersionChanged)]
    run.versions = changes
    stats = show.edge.engine.cursor_stats(audience[0].legs["video"].cursor)
    for name in ("dropped_discardable", "dropped_predicted", "dropped_gop"):
        run.stats[name] = getattr(stats, name)
    return run


def set_rate(show: Show, viewer: Viewer, rate_bps: int) -> None:
    assert viewer.link is not None
    show.edge.engine.set_link_rate(viewer.link, rate_bps)


def send_frame(show: Show, encoders: list[Pictures], bitrates_bps: Sequence[int], run: Run) -> None:
    """The next one, at every bitrate."""
    number = len(run.made_us)
    kind = "K" if number % GOP_FRAMES == 0 else PATTERN[number % len(PATTERN)]
    run.made_us.append(show.now_us)
    for version, (pictures, bitrate_bps) in enumerate(zip(encoders, bitrates_bps, strict=True)):
        size = int(bitrate_bps * FRAME_US / 8_000_000 * WEIGHTS[kind])
        packets = pictures.frame(kind, size, show.now_us, largest=1_100)
        show.encode(version_name(NAME, version), "video", packets)


def send_audio(show: Show, number: int) -> None:
    head = bytes([0x80, 111]) + (number & 0xFFFF).to_bytes(2) + (number * 960).to_bytes(4)
    show.encode(NAME, "audio", [head + b"\x00\x00\x00\x63\x78" + bytes(120)])


def runs_of(packets: list[tuple[int, bytes]]) -> list[tuple[int, list[Piece]]]:
    """What was sent of one bitrate without another in between."""
    found: list[tuple[int, list[Piece]]] = []
    for _, data in packets:
        if not found or found[-1][0] != version_of(data):
            found.append((version_of(data), []))
        found[-1][1].append(piece_of(data))
    return found


def judge_drops(run: Run) -> dict[str, Any]:
    """Of the first viewer: whether what is missing is missing in the right order."""
    orphans, out_of_order, cut = 0, 0, 0
    firsts: dict[str, int] = {}
    for _, pieces in runs_of(run.video[0]):
        whole = whole_frames(pieces)
        cut += len({piece.frame for piece in pieces} - whole)
        orphans += len(undecodable(pieces, run.kinds))
        out_of_order += not in_order(pieces)
        first, last = pieces[0].frame, pieces[-1].frame
        gone = [frame for frame in range(first, last + 1) if frame not in whole]
        for frame in gone:
            firsts.setdefault(run.kinds[frame], frame)
    order = [kind for kind in "bPK" if kind in firsts]
    return {
        "first_missing_frame_of_each_kind": firsts,
        "discardable_then_predicted_then_gop": order == sorted(order, key=lambda k: firsts[k]),
        "frames_cut_off": cut,
        "undecodable_frames_sent": orphans,
        "packets_out_of_order": out_of_order,
    }


def delay_p99_ms(run: Run) -> float:
    """Of the other viewers' packets, from the encoder to their link."""
    delays = sorted(
        at_us - run.made_us[piece_of(data).frame]
        for number, packets in run.video.items()
        if number != 0
        for at_us, data in packets
    )
    return delays[int(0.99 * (len(delays) - 1))] / 1_000


def report(run: Run, still: Run) -> dict[str, Any]:
    """One case."""
    back_us = [at for at, version in run.versions if version == 0 and at > run.slow_until_us]
    numbers = [int.from_bytes(data[2:4]) for _, data in run.video[0]]
    breaks = sum((b - a) & 0xFFFF != 1 for a, b in itertools.pairwise(numbers))
    moved_ms = delay_p99_ms(run) - delay_p99_ms(still)
    drops = judge_drops(run)
    has_versions = len(run.bitrates_bps) > 1
    back_s = (back_us[0] - run.slow_until_us) / 1e6 if back_us else None
    return {
        "bitrates_bps": list(run.bitrates_bps),
        "packets_dropped": run.stats,
        **drops,
        "queue_ms": run.queue_us / 1_000,
        "queue_bytes": run.queue_bytes,
        "sequence_breaks": breaks,
        "audio_packets_missing": run.audio_sent - len(run.audio[0]),
        "versions": [
            {"after_fall_s": round((at - run.slow_until_us + SLOW_US) / 1e6, 3), "version": v}
            for at, v in run.versions
        ],
        "back_after_s": back_s,
        "others_p99_ms": delay_p99_ms(run),
        "others_p99_moved_ms": moved_ms,
        "holds": (
            run.queue_us <= BOUNDS["queue_ms"] * 1_000
            and drops["discardable_then_predicted_then_gop"]
            and drops["undecodable_frames_sent"] == breaks == 0
            and run.audio_sent == len(run.audio[0])
            and abs(moved_ms) < BOUNDS["others_p99_ms"]
            and (not has_versions or (back_s is not None and back_s <= BOUNDS["back_after_s"]))
        ),
    }


def main(
    viewers: Annotated[int, typer.Option(help="With the slow one.", min=2, max=200)] = 50,
) -> None:
    """What does one viewer's slow link cost it, and the others?"""
    cases = []
    for bitrates_bps in (VERSIONS_BPS, VERSIONS_BPS[:1]):
        still = play(bitrates_bps, viewers, falls=False)
        cases.append(report(play(bitrates_bps, viewers, falls=True), still))
    result = {
        "question": QUESTION,
        "environment": environment(),
        "viewers": viewers,
        "rate_bps": [FAST_BPS, SLOW_BPS, FAST_BPS],
        "slow_s": SLOW_US / 1e6,
        "bounds": BOUNDS,
        "cases": cases,
        "holds": all(case["holds"] for case in cases),
    }
    print(json.dumps(result, indent=1))  # noqa: T201  what it is for


if __name__ == "__main__":
    typer.run(main)
