"""What does repair on each link save of a stream, how soon, and at what cost?

A chain of four nodes in virtual time (lab/scenarios/repair-chain.toml), 40, 70 and 100 ms of round
trip on each link, one stream of 3 Mbit/s in H.264 with audio. Losses: 1 % and 5 % at random, 1 % in
bursts of ten (Gilbert-Elliott). Ways of repair:

- `early`: each link by itself; a hole is asked for when reordering no longer explains it;
- `scan`: each link by itself; holes are asked for every 50 ms, as LiveNet (5.1) does;
- `producer`: nobody but the producer repairs. Relays pass on requests and answers as routers would:
  one link end to end with the delay and the losses of the three, and the same machinery on it;
- `none`.

A frame counts if it is whole within 300 ms after the path's smallest delay. What repair adds to a
packet's delay is told of all video packets, and of those alone that came late, from when the viewer
has caught up: what a cache held for it is late for another reason. In the chains called `middle`
the second link alone loses packets: what is added there is that link's, and the others may ask for
nothing. Of what it loses, all but two in a hundred (an answer lost, or both requests) have to be
there within the bound, as at 1 % lost the 99th percentile of all packets says little. Elsewhere no
link may find more holes than it lost datagrams.

Prints JSON; fails if a bound is not kept. About 2 minutes of CPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from bench.support.report import write_report
from fastpath.stats import LinkStats
from lab.scenario.loader import load_scenario
from lab.scenario.model import Scenario
from lab.virtual.run import VirtualOverlay
from lab.virtual.settings import START_US

QUESTION = "What does repair on each link save of a stream, how soon, and at what cost?"
SCENARIO = Path(__file__).parents[1] / "lab" / "scenarios" / "repair-chain.toml"
HOPS = ("producer", "first"), ("first", "second"), ("second", "consumer")
RTTS_MS = (40, 70, 100)
WAYS: dict[str, dict[str, Any]] = {
    "early": {},
    "scan": {"early": False},
    "producer": {},
    "none": {"enabled": False},
}
BURST_DATAGRAMS = 10
VIEWER_BPS = 1_000_000_000  # so that pacing of large frames does not count as repair
UNDISTURBED_MS = 2  # a packet that nothing held up is at most so much above the least delay
FRAMES_INTACT = {"random 1 %": 0.999, "random 5 %": 0.995, "bursts 1 %": 0.99}
REPAIR_SHARE = 0.25  # of what a link sends
CAUGHT_UP_S = 8.0  # of the scenario: the viewer joins at 3 s, and a GoP is 2 s
LOST_WITHIN_LIMIT = 0.98  # of what the link called middle loses, at 1 %


@dataclass(frozen=True, slots=True)
class Loss:
    """What a link does to datagrams. links: how many of these in a row it stands for."""

    name: str
    share: float
    in_bursts: bool = False

    def fields(self, links: int = 1) -> dict[str, Any]:
        if not self.in_bursts:
            return {"loss": 1 - (1 - self.share) ** links}
        p_good = 1 / BURST_DATAGRAMS
        p_bad = links * p_good * self.share / (1 - self.share)
        return {"loss": 0.0, "burst_loss": {"p_bad": p_bad, "p_good": p_good}}


LOSSES = (
    Loss("random 1 %", 0.01),
    Loss("random 5 %", 0.05),
    Loss("bursts 1 %", 0.01, in_bursts=True),
)
NO_LOSS = Loss("none", 0.0)


@dataclass(frozen=True, slots=True)
class Case:
    rtt_ms: int
    loss: Loss
    way: str
    only_middle: bool = False

    @property
    def name(self) -> str:
        where = " middle" if self.only_middle else ""
        return f"{self.rtt_ms} ms, {self.loss.name}{where}, {self.way}"

    @property
    def hops(self) -> tuple[tuple[str, str], ...]:
        return (("producer", "consumer"),) if self.way == "producer" else HOPS

    def scenario(self, base: Scenario, duration_s: float, seed: int) -> Scenario:
        document = base.model_dump(exclude_unset=True)
        document |= {"duration_s": duration_s, "seed": seed, "expect": {}}
        document["links"] = [self._link(a, b) for a, b in self.hops]
        if self.way == "producer":
            document["nodes"] = [{"name": name} for name in ("producer", "consumer")]
            document["paths"] = [{"node": "consumer", "stream": "live", "via": ["producer"]}]
        return Scenario.model_validate(document)

    def _link(self, a: str, b: str) -> dict[str, Any]:
        links = len(HOPS) // len(self.hops)
        is_lossy = not self.only_middle or (a, b) == HOPS[1]
        loss = (self.loss if is_lossy else NO_LOSS).fields(links)
        return {"a": a, "b": b, "delay_ms": links * self.rtt_ms / 2, **loss}

    def limit_ms(self) -> float | None:
        """What repair may add to the delay of 99 of 100 packets."""
        if self.way == "early":
            return 1.2 * self.rtt_ms
        return 50 + 1.5 * self.rtt_ms if self.way == "scan" else None


def quantiles(delays: list[tuple[int, int]]) -> dict[str, int] | None:
    """Of (milliseconds, packets), rising: nearest rank."""
    total = sum(count for _, count in delays)
    if total == 0:
        return None
    found = {}
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)):
        left = share * total
        for ms, count in delays:
            left -= count
            if left <= 0:
                found[name] = ms
                break
    return found


def share_within(delays: list[tuple[int, int]], limit_ms: float | None) -> float | None:
    total = sum(count for _, count in delays)
    if limit_ms is None or total == 0:
        return None
    return round(sum(count for ms, count in delays if ms <= limit_ms) / total, 5)


def hop_report(overlay: VirtualOverlay, sender: str, receiver: str) -> dict[str, Any]:
    ends = overlay.nodes[sender].node, overlay.nodes[receiver].node
    down: LinkStats = ends[0].neighbours[receiver].stats()
    up: LinkStats = ends[1].neighbours[sender].stats()
    sent, lost, _ = overlay.world.path_counts(overlay.numbers[sender], overlay.numbers[receiver])
    return {
        "link": f"{sender} to {receiver}",
        "rtt_ms": up.rtt_us / 1_000,
        "datagrams": sent,
        "lost": lost,
        "holes": up.lost + up.holes_open,
        "reordered": up.reordered,
        "repaired": up.repaired,
        "repaired_late": up.repaired_late,
        "void": up.voided,
        "gone": up.gone,
        "given_up": up.given_up,
        "requests": up.requests_sent,
        "resent": down.resent,
        "resent_twice": down.resent_twice,
        "resend_suppressed": down.resend_suppressed,
        "resend_refused": down.resend_refused,
        "resend_expired": down.resend_expired,
        "resent_share": round(down.resent / max(down.sent_packets, 1), 5),
    }


def run(case: Case, base: Scenario, duration_s: float, seed: int) -> dict[str, Any]:
    began_s = time.process_time()
    tables = {"repair": WAYS[case.way], "viewers": {"rate_bps": VIEWER_BPS}}
    overlay = VirtualOverlay(case.scenario(base, duration_s, seed), tables)
    overlay.run_until(START_US + round(CAUGHT_UP_S * 1_000_000))
    overlay.world.note_packet_delays(0)
    report = overlay.run()
    (viewer,) = report.viewers
    found = overlay.world.viewer(0).packet_delays
    least_ms = found[0][0] if found else 0
    added = [(ms - least_ms, count) for ms, count in found]
    late = [(ms, count) for ms, count in added if ms > UNDISTURBED_MS]
    limit_ms = case.limit_ms()
    return {
        "case": case.name,
        "rtt_ms": case.rtt_ms,
        "loss": case.loss.name,
        "lossy": "middle" if case.only_middle else "all",
        "way": case.way,
        "frames": viewer.frames_expected,
        "frames_intact": viewer.intact_ratio,
        "frames_late": viewer.frames_late,
        "frames_damaged": viewer.frames_damaged + viewer.frames_missing,
        "audio_missing": viewer.audio_missing,
        "packets": sum(count for _, count in added),
        "added_ms": {
            "limit_of_p99": limit_ms,
            "all": quantiles(added),
            "late_alone": quantiles(late),
            "late": sum(count for _, count in late),
            "late_within_limit": share_within(late, limit_ms),
        },
        "hops": [hop_report(overlay, a, b) for a, b in case.hops],
        "cpu_s": round(time.process_time() - began_s, 2),
    }


def problems_of(result: dict[str, Any]) -> Iterator[str]:
    """Which bounds this case breaks."""
    name, hops, added = result["case"], result["hops"], result["added_ms"]
    for hop in hops:
        if hop["holes"] > hop["lost"]:
            yield f"{name}: {hop['link']} found {hop['holes']} holes of {hop['lost']} losses"
        if hop["lost"] == 0 and hop["requests"] > 0:
            yield f"{name}: {hop['link']} lost nothing and asked {hop['requests']} times"
        if hop["resent_share"] > REPAIR_SHARE:
            yield f"{name}: {hop['link']} sent {hop['resent_share']:.0%} again"
    if result["way"] in ("early", "scan") and result["lossy"] == "all":
        least = FRAMES_INTACT[result["loss"]]
        if result["way"] == "early" and result["frames_intact"] < least:
            yield f"{name}: {result['frames_intact']:.5f} of the frames, not {least}"
    if result["lossy"] == "middle":
        p99_ms, within = added["all"]["p99"], added["late_within_limit"]
        if p99_ms > added["limit_of_p99"]:
            yield f"{name}: p99 of what is added is {p99_ms} ms, not {added['limit_of_p99']}"
        if within < LOST_WITHIN_LIMIT:
            yield f"{name}: {within:.4f} of what it lost is there in time, not {LOST_WITHIN_LIMIT}"


def cases(rtts_ms: tuple[int, ...], losses: tuple[Loss, ...]) -> Iterator[Case]:
    for loss in losses:
        for rtt_ms in rtts_ms:
            for way in WAYS:
                yield Case(rtt_ms, loss, way)
    for rtt_ms in rtts_ms:
        for way in ("early", "scan"):
            yield Case(rtt_ms, losses[0], way, only_middle=True)


def main(
    json_file: Annotated[
        str, typer.Option("--json", metavar="FILE|-", help="Where the report goes; -: stdout.")
    ] = "-",
    duration_s: Annotated[float, typer.Option(min=10, help="Of each case, virtual.")] = 600.0,
    seed: Annotated[int, typer.Option()] = 1,
    only: Annotated[str, typer.Option(help="Cases whose name holds this.")] = "",
) -> None:
    """Run the chain with each round trip, loss and way of repair."""
    console = Console(stderr=True)
    base = load_scenario(SCENARIO)
    results = []
    for case in cases(RTTS_MS, LOSSES):
        if only not in case.name:
            continue
        result = run(case, base, duration_s, seed)
        results.append(result)
        added = result["added_ms"]
        late = added["late_alone"] or {}
        console.print(
            f"{case.name:34}  intact {result['frames_intact']:.5f}"
            f"  late packets p50 {late.get('p50', 0)} p99 {late.get('p99', 0)} ms,"
            f" all p99 {added['all']['p99']} ms, within limit {added['late_within_limit']}",
            soft_wrap=True,
            highlight=False,
        )
    problems = [problem for result in results for problem in problems_of(result)]
    write_report(
        {
            "question": QUESTION,
            "environment": environment(),
            "method": {"duration_s": duration_s, "seed": seed, "burst_datagrams": BURST_DATAGRAMS},
            "cases": results,
            "problems": problems,
        },
        json_file,
    )
    for problem in problems:
        typer.echo(f"repair: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
