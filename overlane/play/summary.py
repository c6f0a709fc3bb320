"""From what was received to the report: verdicts, delays, the playout model. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from overlane.play.playout import ArrivedFrame, PlayoutModel, PlayoutResult, simulate
from overlane.play.reassembly import FrameRecord
from overlane.play.report import AudioReport, PlayoutReport, delay_report
from overlane.play.tracks import AudioTrack
from overlane.play.verdict import Verdict, judge
from overlane.publish.manifest import Manifest
from overlane.publish.media import VIDEO_CLOCK_RATE
from rtp.constants import TIMESTAMP_BITS
from rtp.sequence import difference

_DEFAULT_INTERVAL_US = 33_333  # until two frames have come
_SMALLEST_FRAME_TICKS = VIDEO_CLOCK_RATE // 240


@dataclass(frozen=True, slots=True)
class Times:
    """When play began and stopped; CLOCK_MONOTONIC."""

    started_us: int
    stopped_us: int


class MediaClock:
    """32-bit RTP times of video as microseconds after (or before) one of them."""

    def __init__(self, reference: int) -> None:
        self._reference = reference

    def us(self, rtp_time: int) -> int:
        ticks = difference(rtp_time, self._reference, TIMESTAMP_BITS)
        return ticks * 1_000_000 // VIDEO_CLOCK_RATE


def is_intact(record: FrameRecord, hashes: Mapping[int, str] | None) -> bool:
    """Whole, and as sent if that is known. hashes: by RTP time, of the manifest."""
    if record.completed_us is None:
        return False
    return record.start_proven if hashes is None else hashes.get(record.rtp_time) == record.hash


def intact_records(
    records: Mapping[int, FrameRecord], manifest: Manifest | None
) -> list[FrameRecord]:
    """In the order in which they were whole."""
    hashes = {frame.rtp_time: frame.hash for frame in manifest.frames} if manifest else None
    intact = [record for record in records.values() if is_intact(record, hashes)]
    return sorted(intact, key=lambda record: record.completed_us or 0)


def first_frame_ms(intact: Sequence[FrameRecord], times: Times) -> float | None:
    """From the start of play to the first intact key frame complete."""
    whole = [record.completed_us for record in intact if record.key and record.completed_us]
    return (min(whole) - times.started_us) / 1_000 if whole else None


def play_out(
    intact: Sequence[FrameRecord],
    manifest: Manifest | None,
    times: Times,
    *,
    target_us: int,
    ended: bool,
) -> PlayoutReport:
    """The playout model over the frames from the first key frame on. ended: nothing was due after
    the last frame that came, if the manifest does not tell."""
    clock = MediaClock(intact[0].rtp_time if intact else 0)
    arrived = _from_first_key(intact, clock)
    media_end_us = max((frame.media_us for frame in arrived), default=None) if ended else None
    if manifest is not None:
        media_end_us = None
        if manifest.end is not None and manifest.frames:
            media_end_us = max(clock.us(frame.rtp_time) for frame in manifest.frames)
    model = PlayoutModel(_interval_us(intact, manifest), target_us)
    result = simulate(arrived, model, times.stopped_us, media_end_us)
    return PlayoutReport(
        start_ms=_ms_since(times.started_us, result.started_us),
        freezes=result.freezes,
        freeze_ms=result.frozen_us / 1_000,
        frames_shown=result.shown,
        frames_skipped=result.skipped,
        frames_late=result.late,
        fast_ms=result.fast_us / 1_000,
        latency_ms=_latency_ms(result, manifest, clock),
    )


def judge_audio(track: AudioTrack, manifest: Manifest | None, stopped_us: int) -> AudioReport:
    verdict: Verdict | None = None
    if manifest is not None:
        verdict = judge(
            manifest.audio,
            track.records(),
            track.first_arrival_us,
            stopped_us,
            shares_clock=manifest.shares_clock,
        )
    return AudioReport(
        packets_expected=verdict.expected if verdict else None,
        packets_received=track.packets_received,
        intact=verdict.intact if verdict else None,
        intact_ratio=ratio(verdict) if verdict else None,
        packets_lost=track.packets_lost,
        packets_duplicate=track.packets_duplicate,
        delay_ms=delay_report(verdict.delays_us, verdict.smallest_delay_us) if verdict else None,
    )


def ratio(verdict: Verdict) -> float:
    """Of what was expected; 0 if nothing was."""
    return round(verdict.intact / verdict.expected, 6) if verdict.expected else 0.0


def _from_first_key(intact: Sequence[FrameRecord], clock: MediaClock) -> list[ArrivedFrame]:
    first_us = min((clock.us(record.rtp_time) for record in intact if record.key), default=None)
    if first_us is None:
        return []
    return [
        ArrivedFrame(record.completed_us, media_us)
        for record in intact
        if record.completed_us is not None and (media_us := clock.us(record.rtp_time)) >= first_us
    ]


def _interval_us(intact: Sequence[FrameRecord], manifest: Manifest | None) -> int:
    if manifest is not None:
        return round(1_000_000 / manifest.header.video.fps)
    clock = MediaClock(intact[0].rtp_time if intact else 0)
    shown = sorted(clock.us(record.rtp_time) for record in intact)
    gaps = [later - earlier for earlier, later in pairwise(shown)]
    smallest_us = _SMALLEST_FRAME_TICKS * 1_000_000 // VIDEO_CLOCK_RATE
    return max(smallest_us, round(median(gaps))) if gaps else _DEFAULT_INTERVAL_US


def _latency_ms(
    result: PlayoutResult, manifest: Manifest | None, clock: MediaClock
) -> float | None:
    if manifest is None or result.last_shown_us is None or not manifest.shares_clock:
        return None
    for frame in reversed(manifest.frames):
        if clock.us(frame.rtp_time) == result.last_shown_media_us:
            return (result.last_shown_us - frame.sent_us) / 1_000
    return None


def _ms_since(start_us: int, time_us: int | None) -> float | None:
    return None if time_us is None else (time_us - start_us) / 1_000
