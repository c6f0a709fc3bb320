"""A viewer of a scenario over a whole run: all its stays at nodes, and what came of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.flow_viewer import FlowViewer, Reach
from lab.realtime.files import RunFiles
from lab.realtime.talk import NO_WISHES, Wishes
from lab.scenario.model import ScenarioViewer
from lab.scenario.report import (
    Delay,
    EventGap,
    Range,
    StreamChange,
    VersionChange,
    ViewerReport,
)
from overlane.play.report import delay_report
from overlane.play.verdict import Verdict
from overlane.publish.manifest import Manifest

_REFRESH_S = 0.5  # chosen: how soon it notices that its node has forgotten it, and a new path


class LabViewer:
    """One name of a [[viewers]] entry."""

    def __init__(
        self,
        name: str,
        entry: ScenarioViewer,
        files: RunFiles,
        *,
        audio: bool,
        reach: Reach,
        picture: Path | None = None,
        wishes: Wishes = NO_WISHES,
    ) -> None:
        """reach: where its node must send to."""
        self._wishes = wishes
        self._reach = reach
        self.name = name
        self.stream = entry.stream
        self._decode = entry.decode
        self._streams = [entry.stream]
        self.node = entry.node
        self.stays: list[FlowViewer] = []
        self._files = files
        self._audio = audio
        self._picture = picture

    @property
    def is_here(self) -> bool:
        """Whether it watches now."""
        return bool(self.stays) and self.stays[-1].left_us is None

    @property
    def frames(self) -> int:
        """Whole ones, of all stays."""
        return sum(stay.frames_whole for stay in self.stays)

    async def join(self) -> None:
        """At its node. Nothing if it watches already."""
        if self.is_here:
            return
        stay = FlowViewer(
            self._files.nodes[self.node].url,
            self.stream,
            audio=self._audio,
            poll_s=_REFRESH_S,
            picture=self._picture,
            decode=self._decode,
            reach=self._reach,
            wishes=self._wishes,
        )
        self.stays.append(await stay.__aenter__())

    async def leave(self) -> None:
        """Nothing if it is not there."""
        if self.is_here:
            await self.stays[-1].__aexit__(None, None, None)

    async def move(self, node: str) -> None:
        """To another node, at which it joins anew; where it will join, if it is not here."""
        was_here = self.is_here
        await self.leave()
        self.node = node
        if was_here:
            await self.join()

    async def switch(self, stream: str) -> None:
        """To another broadcast, or that is what it joins next. Raises PlayError if its node has
        none."""
        if self.is_here:
            await self.stays[-1].switch(stream)
        self.stream = stream
        self._streams.append(stream)

    @property
    def first_frame_ms(self) -> float | None:
        """From its first joining to its first key frame."""
        first = self.stays[0] if self.stays else None
        return None if first is None else _ms(first.joined_us, first.first_frame_us)

    def gap_ms(self, from_us: int, to_us: int) -> float | None:
        """The longest time without video that reaches into this time; None if it watched at no
        moment of it, or nothing had come."""
        lengths = [
            stay.longest_gap(max(from_us, start_us), min(to_us, stay.until_us)).length_us
            for stay in self.stays
            if stay.arrivals
            and (start_us := stay.arrivals[0].time_us) < to_us
            and stay.until_us > from_us
        ]
        return max(lengths) / 1_000 if lengths else None

    def _judge(self, manifests: Mapping[str, Sequence[Manifest]], ended_us: int) -> _Found:
        found = _Found()
        names = list(dict.fromkeys(self._streams))
        sources = [
            (name, version, manifest)
            for name in names
            for version, manifest in enumerate(manifests[name])
        ]
        if len(sources) == 1:
            manifest = sources[0][2]
            found.verdicts = [stay.judge(manifest, 0, ended_us) for stay in self.stays]
            audio = [stay.judge_audio(manifest) for stay in self.stays]
            found.audio_packets = sum(each.packets_received for each in audio)
            found.audio_missing = sum(
                (each.packets_expected or 0) - (each.intact or 0) for each in audio
            )
            return found
        found.version_frames = [0] * max((version + 1 for _, version, _ in sources), default=0)
        last: tuple[str, int] | None = None
        for stay in self.stays:
            for part in stay.judge_parts([manifest for _, _, manifest in sources], ended_us):
                name, version, _ = sources[part.source]
                found.verdicts.append(part.verdict)
                found.version_frames[version] += part.verdict.intact + part.verdict.late
                if last is not None and last[0] != name:
                    found.stream_changes.append((part.from_us, name))
                elif last is not None and last[1] != version:
                    found.version_changes.append((part.from_us, version))
                last = name, version
            found.audio_packets += stay.audio_received
            found.audio_missing += stay.audio_missing
        return found

    def report(
        self,
        manifests: Mapping[str, Sequence[Manifest]],
        began_us: int,
        ended_us: int,
        event_times_us: Sequence[int],
        silence_ms: float,
        stall_ms: float,
    ) -> ViewerReport:
        """manifests: of each broadcast, by version. ended_us: when the last frame that counts was
        sent, or it left before. event_times_us:
        in order, and the end as the last. silence_ms: the shortest that is listed; stall_ms:
        the longest that a player bears."""
        if not self.stays:
            return ViewerReport(
                name=self.name, stream=self.stream, node=self.node, path=[], joined_s=None
            )
        first, last = self.stays[0], self.stays[-1]
        found = self._judge(manifests, ended_us)
        verdicts = found.verdicts
        intact = sum(each.intact for each in verdicts)
        expected = sum(each.expected for each in verdicts)
        missing = sum(each.missing for each in verdicts)
        least_us = [v.smallest_delay_us for v in verdicts if v.smallest_delay_us is not None]
        first_packet_us = first.arrivals[0].time_us if first.arrivals else None
        repeats = [repeat for stay in self.stays for repeat in _repeats(stay)]
        return ViewerReport(
            name=self.name,
            stream=self.stream,
            node=self.node,
            path=list(last.path),
            joined_s=(first.joined_us - began_us) / 1_000_000,
            left_s=(last.until_us - began_us) / 1e6 if last.until_us < ended_us else None,
            refused=last.refusal,
            frames_expected=expected,
            frames_intact=intact,
            frames_late=sum(each.late for each in verdicts),
            frames_damaged=sum(each.damaged + each.incomplete for each in verdicts) - missing,
            frames_missing=missing,
            frames_duplicate=len(set(repeats)),
            intact_ratio=round(intact / expected, 6) if expected else None,
            packets=sum(len(stay.arrivals) for stay in self.stays),
            packets_duplicate=len(repeats),
            rtx_packets=sum(stay.rtx_packets for stay in self.stays),
            rtx_repaired=sum(stay.rtx_repaired for stay in self.stays),
            frames_undecodable=sum(
                stay.decoded.decode_errors for stay in self.stays if stay.decoded is not None
            ),
            version_frames=found.version_frames,
            version_changes=[
                VersionChange(at_s=(at_us - began_us) / 1_000_000, version=version)
                for at_us, version in found.version_changes
            ],
            stream_changes=[
                StreamChange(at_s=(at_us - began_us) / 1_000_000, stream=stream)
                for at_us, stream in found.stream_changes
            ],
            audio_packets=found.audio_packets,
            audio_missing=found.audio_missing,
            first_packet_ms=_ms(first.joined_us, first_packet_us),
            first_frame_ms=self.first_frame_ms,
            longest_gap_ms=self.gap_ms(0, ended_us),
            stalls=sum(stay.silences(round(1_000 * stall_ms), ended_us) for stay in self.stays)
            if first_packet_us is not None
            else None,
            gaps=[
                EventGap(event=index, gap_ms=gap_ms)
                for index, (a_us, b_us) in enumerate(itertools.pairwise(event_times_us))
                if (gap_ms := self.gap_ms(a_us, b_us) or 0.0) > silence_ms
            ],
            delay_ms=_delay(verdicts),
            target_bps=last.target_bps if self._wishes.speech.tells_arrivals else Range(),
            least_delay_ms=min(least_us) / 1_000 if least_us else None,
        )


@dataclass(slots=True)
class _Found:
    """Of all stays of a viewer."""

    verdicts: list[Verdict] = field(default_factory=list)
    version_frames: list[int] = field(default_factory=list)
    version_changes: list[tuple[int, int]] = field(default_factory=list)
    stream_changes: list[tuple[int, str]] = field(default_factory=list)
    audio_packets: int = 0
    audio_missing: int = 0


def _repeats(stay: FlowViewer) -> list[int]:
    """RTP times of packets that came again."""
    seen: set[tuple[int, int]] = set()
    found = []
    for each in stay.arrivals:
        key = (each.ssrc, each.number)
        if key in seen:
            found.append(each.timestamp)
        seen.add(key)
    return found


def _delay(verdicts: Sequence[Verdict]) -> Delay:
    delays = delay_report([delay for each in verdicts for delay in each.delays_us], 0)
    return Delay(p50=delays.p50, p99=delays.p99) if delays else Delay()


def _ms(from_us: int, to_us: int | None) -> float | None:
    return None if to_us is None else (to_us - from_us) / 1_000
