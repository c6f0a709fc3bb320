"""From what was seen of a run to its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.realtime.encoders import Encoder
from lab.realtime.observer import Observer, Switch
from lab.realtime.scene import Hop
from lab.realtime.viewers import LabViewer
from lab.scenario.expectations import judge
from lab.scenario.model import Event, Scenario
from lab.scenario.qoe import qoe_of
from lab.scenario.report import BrainReport, EventReport, HopReport, ScenarioReport, ViewerReport
from lab.scenario.topology import Pair, pair_of
from lab.scenario.words import describe
from relay.qoe import PLAYER_BUFFER_US

_SILENCE_MS = 100.0  # beyond a frame's time; see `EventReport.viewers_with_gap`


@dataclass(frozen=True, slots=True)
class Done:
    """An event that has happened."""

    at_us: int
    event: Event


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over. ended_us: when the last frame that counts was sent. done: in the order of
    time. delays_us: of the links, one way."""

    scenario: Scenario
    began_us: int
    ended_us: int
    done: Sequence[Done]
    viewers: Sequence[LabViewer]
    encoders: Mapping[str, Encoder]
    observer: Observer
    delays_us: Mapping[Pair, int]
    brain_starts: int


def scenario_report(run: Finished) -> ScenarioReport:
    """With its expectations judged."""
    manifests = {name: encoder.manifests() for name, encoder in run.encoders.items()}
    frame_ms = {each.name: 1_000 / each.fps for each in run.scenario.broadcasts}
    times_us = [*(done.at_us for done in run.done), run.ended_us]
    viewers = [
        viewer.report(
            manifests,
            run.began_us,
            run.ended_us,
            times_us,
            _SILENCE_MS + frame_ms[viewer.stream],
            PLAYER_BUFFER_US / 1_000 + frame_ms[viewer.stream],
        )
        for viewer in run.viewers
    ]
    hops = run.observer.hops().values()
    report = ScenarioReport(
        name=run.scenario.name,
        mode="real_time",
        seed=run.scenario.seed,
        duration_s=(run.ended_us - run.began_us) / 1_000_000,
        viewers=viewers,
        hops=[_hop(hop, run) for hop in hops],
        qoe=qoe_of(viewers),
        brain=_brain(run),
        events=_events(run, viewers),
    )
    # Events beside the file's have no place in its expectations.
    return _with_expectations(run.scenario, report)


def _with_expectations(scenario: Scenario, report: ScenarioReport) -> ScenarioReport:
    fields = {name: getattr(report, name) for name in report.__struct_fields__}
    return ScenarioReport(**(fields | {"expectations": judge(scenario, report)}))


def _hop(hop: Hop, run: Finished) -> HopReport:
    return HopReport(
        sender=hop.sender,
        receiver=hop.receiver,
        packets=hop.packets,
        lost=hop.lost,
        repaired=hop.repaired,
        gone=hop.gone,
        given_up=hop.given_up,
        loss=round(hop.loss, 6),
        rtt_ms=hop.rtt_us / 1_000 if hop.rtt_us else None,
        delay_ms=run.delays_us[pair_of(hop.sender, hop.receiver)] / 1_000,
        target_bps=run.observer.targets_bps[hop.sender, hop.receiver],
    )


def _brain(run: Finished) -> BrainReport | None:
    if run.scenario.brain is None:
        return None
    counters: Counter[str] = Counter()
    for life in run.observer.brain_lives.values():
        counters.update(life)
    return BrainReport(
        term=max(run.observer.brain_lives, default=0),
        starts=run.brain_starts,
        path_requests=counters["path_requests"],
        lookups=counters["lookups"],
        tables_pushed=counters["tables_sent_whole"] + counters["tables_sent_change"],
        tables_refused=sum(n for key, n in counters.items() if key.startswith("tables_refused_")),
        rehome_advices=counters["advice"],
    )


def _events(run: Finished, viewers: Sequence[ViewerReport]) -> list[EventReport]:
    found = []
    for index, done in enumerate(run.done):
        gaps = [gap.gap_ms for viewer in viewers for gap in viewer.gaps if gap.event == index]
        until_us = run.done[index + 1].at_us if index + 1 < len(run.done) else run.ended_us
        found.append(
            EventReport(
                at_s=(done.at_us - run.began_us) / 1_000_000,
                do=done.event.do,
                what=describe(done.event),
                viewers_with_gap=len(gaps),
                longest_gap_ms=max(gaps, default=0.0),
                switches=[
                    _told(switch, done.at_us)
                    for switch in run.observer.switches
                    if done.at_us <= switch.at_us < until_us
                ],
            )
        )
    return found


def _told(switch: Switch, since_us: int) -> str:
    return f"{switch}, {(switch.at_us - since_us) / 1_000:.0f} ms after"
