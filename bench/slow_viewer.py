"""What does one viewer's slow link cost it, and the others?

Fifty viewers of a broadcast at two bitrates, in virtual time, with real nodes and engines, each
behind a path of its own (`bench/support/path_viewer`); they ask for what is lost, and tell what
came. The path of one falls from 4 to 1 Mbit/s for 10 s, which nobody tells its node: the rate
controller has to find it out, and that it has recovered. Checked packet by packet: what waits too
long is left out in the order of its worth, b frames that nothing refers to from half the limit
on, P frames up to a key frame from seven eighths on, whole GoPs; nothing undecodable is sent
behind a P frame that was left out; no audio is lost; how long its queue is; when it is back at
the better bitrate. With each controller, and once with one bitrate only, where it has to do with
less of it. The others' delay is compared with a run in which nothing happens. In virtual time
engines take no time: that says that nothing waits behind the slow viewer, not what its work
costs.

Only GCC has to keep all bounds. NADA has no probes and does not grow past 1.5 times what arrives;
loss_only, of viewers that only send receiver reports, sees a queue when it overflows.

JSON on stdout. About two minutes.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

import itertools

from bench.support.environment import environment
from bench.support.path_viewer import RTX_TYPE, SPEAKS_US, TRANSPORT_CC_ID, PathViewer
from bench.support.show import Show, ingest
from lab.link import LinkConfig
from lab.pictures import TEXT, Pictures, Piece, in_order, piece_of, undecodable, whole_frames
from relay.edge.plain_rtp import Extensions, Viewer
from relay.events import VersionChanged
from relay.messages import version_name
from rtp.payload.rtp_header import looks_like_rtcp
from service.address import Address

QUESTION = "What does one viewer's slow link cost it, and the others?"
NAME = "show"
VERSIONS_BPS = (2_400_000, 600_000)
FRAME_US, GOP_FRAMES, PATTERN = 33_333, 60, "PbPb"
WEIGHTS = {"K": 5.0, "P": 1.25, "b": 0.6}  # of the mean frame
AUDIO_US = 20_000
FAST_BPS, SLOW_BPS = 4_000_000, 1_000_000
ONE_WAY_US, PATH_QUEUE_US = 10_000, 300_000
HOP_US = 20_000  # from the encoder's node to the viewers'
WAITS_US = {
    "b": 250_000,
    "P": 437_500,
    "K": 500_000,
}  # when it begins to leave: fastpath/drop
CATCHES_UP_US = 2_000_000  # who has just come, or changed its version, is sent what there is
CONTROLLERS = ("gcc", "nada", "loss_only")
VIDEO_PORT = 6004
BEFORE_US, SLOW_US, AFTER_US = 6_700_000, 10_000_000, 15_000_000
JOINS_US = 200_000  # until it is subscribed
BOUNDS = {"queue_ms": 500.0, "back_after_s": 5.0, "others_p99_ms": 1.0}


@dataclass
class Run:
    """What was sent to whom, and when each frame was made."""

    bitrates_bps: Sequence[int]
    paths: list[PathViewer] = field(default_factory=list)
    video: dict[int, list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))
    made_us: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    audio_sent: int = 0
    queue_us: int = 0
    queue_bytes: int = 0
    stats: dict[str, int] = field(default_factory=dict)
    versions: list[tuple[int, int]] = field(default_factory=list)  # when, which
    slow_until_us: int = 0
    audio_ssrc: int = 0

    @property
    def audio_lost(self) -> int:
        """Of the first viewer's, what never came."""
        return self.audio_sent - len(self.paths[0].came[self.audio_ssrc])

    def on_sent(self, now_us: int, to: Address, data: bytes) -> None:
        """To a viewer. Judged is what it is sent, but not what it is sent again."""
        number = int(to[0].rsplit(".", 1)[1])
        if number < len(self.paths):
            self.paths[number].send(data, now_us)
        if to[1] == VIDEO_PORT and not looks_like_rtcp(data) and data[1] & 0x7F != RTX_TYPE:
            self.video[number].append((now_us, without_extension(data)))

    def look(self, show: Show, viewer: Viewer) -> None:
        """At the first viewer's queue."""
        if (leg := viewer.legs.get("video")) is not None:
            stats = show.edge.engine.cursor_stats(leg.cursor)
            self.queue_us = max(self.queue_us, stats.lag_us)
            self.queue_bytes = max(self.queue_bytes, stats.lag_bytes)


def without_extension(packet: bytes) -> bytes:
    """Of a viewer's own, if it has one; the encoder's packets have none."""
    if not packet[0] & 0x10:
        return packet
    return packet[:12] + packet[16 + 4 * int.from_bytes(packet[14:16]) :]


def version_of(packet: bytes) -> int:
    """Which bitrate's it is."""
    return int(packet[14 + TEXT :].split(b".", 1)[0])


def add_viewers(show: Show, run: Run, count: int, controller: str, *, falls: bool) -> list[Viewer]:
    """The first one's path falls, if it is to, BEFORE_US after they have joined."""
    tells_packets = controller != "loss_only"
    audience = []
    for number in range(count):
        extensions = Extensions(transport_cc=TRANSPORT_CC_ID if tells_packets else 0)
        viewer = show.add_viewer(
            number, NAME, rtcp="mux", rtx_payload_type=RTX_TYPE, extensions=extensions
        )
        audience.append(viewer)
        trace: tuple[tuple[int, int], ...] = ((0, FAST_BPS),)
        if number == 0 and falls:
            trace += ((BEFORE_US, SLOW_BPS), (BEFORE_US + SLOW_US, FAST_BPS))
        path = LinkConfig(
            ONE_WAY_US,
            rate_trace=trace,
            trace_origin_us=show.now_us + JOINS_US,
            queue_us=PATH_QUEUE_US,
        )
        run.paths.append(
            PathViewer(
                path,
                partial(say, show, number),
                seed=2 * number,
                back_us=ONE_WAY_US,
                packets=tells_packets,
            )
        )
    return audience


def say(show: Show, number: int, rtcp: bytes) -> None:
    show.post_from_viewer(number, [rtcp])


def play(bitrates_bps: Sequence[int], viewers: int, controller: str, *, falls: bool) -> Run:
    """One run; the first viewer's path falls, if it is to."""
    run = Run(bitrates_bps)
    edge = {"rate": {"viewers": {"controller": controller}}}
    show = Show([ingest(NAME, 5000, bitrates_bps)], run.on_sent, edge=edge)
    show.run_until(show.now_us + 500_000)
    encoders = [
        Pictures(first_timestamp=7 << 28, ssrc=version + 1, name=str(version))
        for version in range(len(bitrates_bps))
    ]
    audience = add_viewers(show, run, viewers, controller, falls=falls)
    show.run_until(show.now_us + JOINS_US)
    begin_us = show.now_us
    run.slow_until_us = begin_us + BEFORE_US + SLOW_US
    end_us = run.slow_until_us + AFTER_US
    next_frame_us = next_audio_us = next_words_us = begin_us
    while show.now_us < end_us:
        if show.now_us >= next_frame_us:
            send_frame(show, encoders, bitrates_bps, run)
            next_frame_us += FRAME_US
        if show.now_us >= next_audio_us:
            send_audio(show, run.audio_sent)
            run.audio_sent += 1
            next_audio_us += AUDIO_US
        if show.now_us >= next_words_us:
            for path in run.paths:
                path.speak(show.now_us)
            next_words_us += SPEAKS_US
        show.run_until(min(next_frame_us, next_audio_us, next_words_us))
        run.look(show, audience[0])
    for _ in range(10):  # what is lost of the end is asked for as well
        show.run_until(show.now_us + SPEAKS_US)
        for path in run.paths:
            path.speak(show.now_us)
    run.kinds = encoders[0].frames
    run.audio_ssrc = audience[0].legs["audio"].ssrc
    changes = [(at_us, e.version) for at_us, e in show.events if isinstance(e, VersionChanged)]
    run.versions = changes
    stats = show.edge.engine.cursor_stats(audience[0].legs["video"].cursor)
    for name in ("dropped_discardable", "dropped_predicted", "dropped_gop", "resent"):
        run.stats[name] = getattr(stats, name)
    return run


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


def sent_too_late(run: Run) -> dict[str, int]:
    """Frames that the first viewer was sent though they were to be left out, by kind."""
    found = dict.fromkeys(WAITS_US, 0)
    version, began_us, seen = -1, 0, -1
    for at_us, data in run.video[0]:
        if version_of(data) != version:
            version, began_us = version_of(data), at_us
        piece = piece_of(data)
        wait_us = at_us - run.made_us[piece.frame] - HOP_US
        is_late = wait_us > WAITS_US[piece.kind] and at_us - began_us > CATCHES_UP_US
        found[piece.kind] += is_late and piece.frame != seen
        seen = piece.frame
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
    return {
        "first_missing_frame_of_each_kind": firsts,
        "sent_too_late": sent_too_late(run),
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


def report(controller: str, run: Run, still: Run) -> dict[str, Any]:
    """One case."""
    back_us = [at for at, version in run.versions if version == 0 and at > run.slow_until_us]
    numbers = [int.from_bytes(data[2:4]) for _, data in run.video[0]]
    breaks = sum((b - a) & 0xFFFF != 1 for a, b in itertools.pairwise(numbers))
    moved_ms = delay_p99_ms(run) - delay_p99_ms(still)
    drops = judge_drops(run)
    has_versions = len(run.bitrates_bps) > 1
    back_s = (back_us[-1] - run.slow_until_us) / 1e6 if back_us else None
    stays = bool(run.versions) and run.versions[-1][1] == 0
    held = {
        "queue_ms": run.queue_us <= BOUNDS["queue_ms"] * 1_000,
        "order_of_drops": not any(drops["sent_too_late"].values()),
        "undecodable_frames_sent": drops["undecodable_frames_sent"] == breaks == 0,
        "audio": run.audio_lost == 0,
        "others_p99_moved_ms": abs(moved_ms) < BOUNDS["others_p99_ms"],
        "back_after_s": not has_versions
        or (stays and back_s is not None and back_s <= BOUNDS["back_after_s"]),
    }
    return {
        "controller": controller,
        "bitrates_bps": list(run.bitrates_bps),
        "packets_dropped": run.stats,
        **drops,
        "queue_ms": run.queue_us / 1_000,
        "queue_bytes": run.queue_bytes,
        "path_queue_ms": run.paths[0].queue_us / 1_000,
        "sequence_breaks": breaks,
        "audio_packets_missing": run.audio_lost,
        "versions": [
            {"after_fall_s": round((at - run.slow_until_us + SLOW_US) / 1e6, 3), "version": v}
            for at, v in run.versions
        ],
        "back_after_s": back_s,
        "others_p99_ms": delay_p99_ms(run),
        "others_p99_moved_ms": moved_ms,
        "falls_short_of": [name for name, is_held in held.items() if not is_held],
    }


def main(
    viewers: Annotated[int, typer.Option(help="With the slow one.", min=2, max=200)] = 50,
    controller: Annotated[
        list[str] | None, typer.Option(help="gcc, nada, loss_only; all if not given.")
    ] = None,
) -> None:
    """What does one viewer's slow link cost it, and the others?"""
    cases = []
    for kind in controller or CONTROLLERS:
        for bitrates_bps in (VERSIONS_BPS, VERSIONS_BPS[:1]) if kind == "gcc" else (VERSIONS_BPS,):
            still = play(bitrates_bps, viewers, kind, falls=False)
            cases.append(report(kind, play(bitrates_bps, viewers, kind, falls=True), still))
    result = {
        "question": QUESTION,
        "environment": environment(),
        "viewers": viewers,
        "rate_bps": [FAST_BPS, SLOW_BPS, FAST_BPS],
        "slow_s": SLOW_US / 1e6,
        "bounds": BOUNDS,
        "cases": cases,
        "holds": not any(case["falls_short_of"] for case in cases if case["controller"] == "gcc"),
    }
    print(json.dumps(result, indent=1))  # noqa: T201  what it is for


if __name__ == "__main__":
    typer.run(main)
