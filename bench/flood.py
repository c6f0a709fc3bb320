"""A flood of forged packets beside a broadcast: does anybody notice?

Producer, middle and consumer run as processes on emulated links; viewers watch at the middle and at
the consumer. First nothing else happens, then the middle node and the producer are flooded at every
port: half of the packets come from the addresses of real neighbours (through the emulated links'
own sockets), half from strangers' sockets. See support/forgery for what they are: mutated copies of
packets delivered in the last seconds, replays, random bytes, HELLOs, RTP and RTCP of nobody.

Shows what each counter refused (their sum must be what was sent, less what the sockets' buffers had
no room for), that no state changed, that nothing was sent in answer, and the viewers' intact ratio
with and without. Prints JSON; fails if a bound is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support import forgery
from bench.support.host import host
from bench.support.volley import Volley
from lab.capture import Capture
from lab.flow_viewer import FlowViewer
from lab.link import LinkConfig
from lab.overlay import LabNode
from lab.stage import STREAM, Stage, stage, until
from lab.timer_fd import now_us
from lab.udp_link import Direction

QUESTION = "Does a flood of forged packets change, delay or harm anything?"
PRODUCER, MIDDLE, CONSUMER = range(3)
LINK = LinkConfig(delay_us=20_000, jitter_us=1_000, loss=0.005)
PACKETS_PER_CALL = 100
POOL_PACKETS = 1_000  # of a source; made anew in turn, so copies are at most some seconds old
RECENT_PACKETS = 1_000  # of a direction: about four seconds of the broadcast
REMAKE_S = 4.0  # chosen: a few per cent of a core
STRANGERS = 8
SETTLE_S = 2.0
# All that a forged packet may become. What is legitimate never does, beside a healthy broadcast.
REFUSALS = """
    truncated wrong_version unknown_type unknown_peer no_keys wrong_epoch before_window bad_tag
    replayed source_route_refused hop_limit_reached malformed hello_rate_limited oversized
    stranger_rate_limited ingest_malformed ingest_payload_type ingest_other_ssrc
    ingest_oversized ingest_rtcp_malformed ingest_rtcp_unknown ingest_unassigned
    jump_unconfirmed viewer_unknown viewer_malformed
""".split()  # noqa: SIM905
STATE = ["handshake", "is_up", "has_keys"]
TABLES = ["streams", "cursors", "node_links", "viewer_links", "ports", "held_early_packets"]
Make = Callable[[Random], bytes]


@dataclass(slots=True)
class Source:
    """One socket that sends forged packets, and its share of them. targets: (node, port)."""

    name: str
    fd: int
    share: float
    make: list[tuple[int, int, Make]]
    volley: Volley | None = None
    nodes: list[int] = field(default_factory=list)
    sent: Counter[int] = field(default_factory=Counter)
    owed: float = 0.0

    def remake(self, rng: Random) -> None:
        packets = []
        nodes = []
        for _ in range(POOL_PACKETS):
            node, port, make = rng.choice(self.make)
            packets.append((make(rng), ("127.0.0.1", port)))
            nodes.append(node)
        self.volley, self.nodes = Volley(packets), nodes

    def send(self) -> None:
        assert self.volley is not None
        while self.owed >= PACKETS_PER_CALL:
            taken = self.volley.send(self.fd, PACKETS_PER_CALL)
            self.sent.update(self.nodes[taken.start : taken.stop])
            self.owed -= PACKETS_PER_CALL


class Flood(threading.Thread):
    """Sends until it is told to stop."""

    def __init__(self, sources: Sequence[Source], packets_per_s: int, rng: Random) -> None:
        super().__init__(daemon=True)
        self.sources = sources
        self.packets_per_s = packets_per_s
        self.seconds = 0.0
        self._rng = rng
        self._stopping = threading.Event()

    def run(self) -> None:
        for source in self.sources:
            source.remake(self._rng)
        began = last = remade = time.monotonic()
        turn = 0
        while not self._stopping.wait(0.002):
            now = time.monotonic()
            for source in self.sources:
                source.owed += min(now - last, 0.1) * self.packets_per_s * source.share
                source.send()
            last = now
            if now - remade > REMAKE_S / len(self.sources):
                self.sources[turn % len(self.sources)].remake(self._rng)
                turn, remade = turn + 1, now
        self.seconds = time.monotonic() - began

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def sent_to(self, node: int) -> int:
        return sum(source.sent[node] for source in self.sources)


def of_link(capture: Capture, direction: Direction) -> list[Make]:
    """What an attacker on the path makes of the last seconds' packets."""

    def recent(rng: Random) -> bytes:
        seen = capture.delivered[direction]
        return seen[-1 - rng.randrange(min(len(seen), RECENT_PACKETS))].data

    def making(forge: forgery.Forge) -> Make:
        return lambda rng: forge(rng, recent(rng))

    return [making(forge) for forge in forgery.OVERLAY]


def sources_of(here: Stage, strangers: Sequence[socket.socket]) -> list[Source]:
    producer, middle = here.nodes[PRODUCER].ports, here.nodes[MIDDLE].ports
    links, captures = here.overlay.links, here.captures
    to_middle = of_link(captures[0], "ab") + of_link(captures[1], "ba")
    to_producer = of_link(captures[0], "ba")
    spoofed = [
        (0, "ab", MIDDLE, middle.overlay, 0.2),
        (1, "ba", MIDDLE, middle.overlay, 0.2),
        (0, "ba", PRODUCER, producer.overlay, 0.1),
    ]
    found = []
    for index, direction, node, port, share in spoofed:
        way: Direction = "ab" if direction == "ab" else "ba"
        make = [(node, port, each) for each in of_link(captures[index], way)]
        found.append(
            Source(f"spoofed neighbour {direction}", links[index].source_fd(way), share, make)
        )
    foreign: list[tuple[int, int, Make]] = [(MIDDLE, middle.overlay, m) for m in to_middle]
    foreign += [(PRODUCER, producer.overlay, m) for m in to_producer]
    for port, payload_type in ((producer.video, 96), (producer.audio, 111)):
        foreign += [
            (PRODUCER, port, forgery.rtp_of_another_type),
            (PRODUCER, port, partial(forgery.rtp_of_another_source, payload_type=payload_type)),
            (PRODUCER, port, forgery.rtcp_of_a_stranger),
            (PRODUCER, port, lambda rng: forgery.noise(rng, b"")),
        ]
    for node, port in ((MIDDLE, middle.viewers), (PRODUCER, producer.viewers)):
        foreign += [
            (node, port, forgery.rtcp_of_a_stranger),
            (node, port, lambda rng: forgery.noise(rng, b"")),
        ]
    for each in strangers:
        found.append(Source("stranger", each.fileno(), 0.5 / len(strangers), foreign))
    return found


def udp_drops(port: int) -> int:
    """Datagrams that this port's receive buffer had no room for (proc(5), /proc/net/udp)."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].split(":")[1], 16) == port:
            return int(words[-1])
    raise LookupError(f"no UDP socket on port {port}")


def node_drops(node: LabNode) -> dict[str, int]:
    """By port; only the first node of a chain has ingests."""
    found = {}
    for name, port in asdict(node.ports).items():
        try:
            found[name] = udp_drops(port)
        except LookupError:
            continue
    return found


def cpu_s(node: LabNode) -> float:
    """User and system time of the node's process (proc(5), /proc/pid/stat)."""
    words = Path(f"/proc/{node.process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100


def state_of(status: dict[str, Any], node: LabNode) -> dict[str, Any]:
    """What must stay as it is; counters are left out."""
    return {
        "neighbours": {n["name"]: {key: n[key] for key in STATE} for n in status["neighbours"]},
        "keyed": node.process.err.read_text().count('"neighbour_keyed"'),
        "events": node.process.err.read_text().count("\n"),
        "streams": {
            s["name"]: {
                "state": s["state"],
                "path": s["path"],
                "subscribers": s["subscribers"],
                "viewers": s["viewers"],
                "ids": {media: t["stream_id"] for media, t in s["tracks"].items()},
                "restarts": {media: t["restarts"] for media, t in s["tracks"].items()},
            }
            for s in status["streams"]
        },
        "viewers": {
            v["viewer"]: {media: (t["to"], t["ssrc"]) for media, t in v["tracks"].items()}
            for v in status["viewers"]
        },
        "memory": {table: status["memory"][table] for table in TABLES},
    }


@dataclass
class Snapshot:
    time_us: int
    verdicts: dict[str, int]
    drops: dict[str, int]
    state: dict[str, Any]
    sent_packets: dict[str, int]
    cpu_s: float


async def snapshot(here: Stage, node: LabNode) -> Snapshot:
    verdicts, status = await here.verdicts(node), await here.status(node)
    return Snapshot(
        now_us(),
        verdicts,
        node_drops(node),
        state_of(status, node),
        {n["name"]: n["sent_packets"] for n in status["neighbours"]},
        cpu_s(node),
    )


def compare(before: Snapshot, after: Snapshot, sent: int) -> dict[str, Any]:
    seconds = (after.time_us - before.time_us) / 1_000_000
    gained = {n: after.verdicts[n] - before.verdicts[n] for n in after.verdicts}
    refused = {n: gained[n] for n in REFUSALS if gained[n]}
    drops = {port: n - before.drops[port] for port, n in after.drops.items()}
    missing = sent - sum(refused.values())
    return {
        "forged_packets": sent,
        "refused": refused,
        "not_refused": missing,
        "socket_drops": drops,
        "is_accounted_for": missing <= sum(drops.values()) if sent else not missing,
        "receive_truncated": gained["receive_truncated"],
        "state_changed": before.state != after.state,
        "changes": [
            f"{key}: {value} -> {after.state[key]}"
            for key, value in before.state.items()
            if after.state[key] != value
        ],
        "sent_per_s": {
            name: round((n - before.sent_packets[name]) / seconds, 1)
            for name, n in after.sent_packets.items()
        },
        "all_sent_per_s": round(gained["sent_packets"] / seconds, 1),
        "cpu_share": round((after.cpu_s - before.cpu_s) / seconds, 3),
    }


def answers(strangers: Sequence[socket.socket]) -> int:
    """Datagrams that came back to the forged sources."""
    found = 0
    for each in strangers:
        while True:
            try:
                each.recv(2048, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            found += 1
    return found


async def phase(
    here: Stage, viewers: dict[str, FlowViewer], seconds: float, flood: Flood | None
) -> dict[str, Any]:
    nodes = [here.nodes[PRODUCER], here.nodes[MIDDLE]]
    before = [await snapshot(here, node) for node in nodes]
    began_us = now_us()
    if flood is not None:
        flood.start()
    await asyncio.sleep(seconds)
    if flood is not None:
        await asyncio.to_thread(flood.stop)
    ended_us = now_us()
    await asyncio.sleep(SETTLE_S)
    after = [await snapshot(here, node) for node in nodes]
    manifest = here.manifest()
    found: dict[str, Any] = {"seconds": round((ended_us - began_us) / 1_000_000, 1)}
    if flood is not None:
        total = sum(sum(source.sent.values()) for source in flood.sources)
        found["forged_packets_per_s"] = round(total / flood.seconds)
        found["from_neighbours_addresses"] = sum(
            sum(source.sent.values()) for source in flood.sources if source.name != "stranger"
        )
    for name, viewer in viewers.items():
        verdict = viewer.judge(manifest, began_us, ended_us)
        gap = viewer.longest_gap(began_us, ended_us)
        found[name] = {
            "frames": verdict.expected,
            "intact_ratio": round(verdict.intact / max(1, verdict.expected), 5),
            "incomplete": verdict.incomplete,
            "late": verdict.late,
            "damaged": verdict.damaged,
            "worst_delay_ms": max(verdict.delays_us, default=0) / 1000,
            "longest_without_video_ms": gap.length_us / 1000,
        }
    for index, node in ((PRODUCER, nodes[0]), (MIDDLE, nodes[1])):
        sent = flood.sent_to(index) if flood is not None else 0
        found[node.name] = compare(before[index], after[index], sent)
    ways = [
        way
        for link in here.overlay.links
        for way in (link.counters().a_to_b, link.counters().b_to_a)
    ]
    # The emulated links run in this process: what it loses or delays is no node's fault.
    found["lab_lost"] = sum(way.kernel_dropped for way in ways)
    found["lab_worst_lateness_ms"] = max(way.worst_lateness_us for way in ways) / 1000
    return found


def has_begun(viewer: FlowViewer) -> bool:
    """It has been sent video for a while."""
    return len(viewer.arrivals) > 200


async def bench(
    seconds: float, quiet_s: float, packets_per_s: int, seed: int, directory: Path
) -> dict[str, Any]:
    strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(STRANGERS)]
    for each in strangers:
        each.bind(("127.0.0.1", 0))
    async with stage(directory, LINK, seed) as here:
        await here.publish(seed)
        middle, consumer = here.nodes[MIDDLE], here.nodes[CONSUMER]
        async with FlowViewer(consumer.url, STREAM) as far, FlowViewer(middle.url, STREAM) as near:
            viewers = {"viewer_at_consumer": far, "viewer_at_middle": near}
            for viewer in viewers.values():
                await until(partial(has_begun, viewer), 30, "the first video")
            quiet = await phase(here, viewers, quiet_s, None)
            flood = Flood(sources_of(here, strangers), packets_per_s, Random(seed))
            flooded = await phase(here, viewers, seconds, flood)
            flooded["answers_to_strangers"] = answers(strangers)
        await here.stop_encoder()
    for each in strangers:
        each.close()
    return {
        "question": QUESTION,
        "host": host(),
        "seed": seed,
        "link": asdict(LINK),
        "without_flood": quiet,
        "with_flood": flooded,
        "kept": kept(quiet, flooded),
    }


def kept(quiet: dict[str, Any], flooded: dict[str, Any]) -> dict[str, bool]:
    nodes = [flooded["producer"], flooded["middle"]]
    return {
        "all_accounted_for": all(node["is_accounted_for"] for node in nodes),
        "no_state_changed": not any(node["state_changed"] for node in nodes),
        "nothing_sent_in_answer": flooded["answers_to_strangers"] == 0,
        "viewers_unharmed": all(
            flooded[name]["intact_ratio"] >= quiet[name]["intact_ratio"] - 0.001
            for name in ("viewer_at_consumer", "viewer_at_middle")
        ),
        "no_socket_overflowed": not any(sum(node["socket_drops"].values()) for node in nodes),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--quiet-seconds", type=float, default=30)
    parser.add_argument("--packets-per-s", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="keep logs and configurations here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        found = uvloop.run(
            bench(
                options.seconds,
                options.quiet_seconds,
                options.packets_per_s,
                options.seed,
                directory,
            )
        )
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0 if all(found["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
