"""Which frames count: whole by the manifest's hash, and in time. Pure; times in microseconds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from overlane.player.frames import Frame
from overlane.publish.manifest import Manifest, SentFrame
from rtp.payload.h264_packets import access_unit_hash

IN_TIME_US = 300_000  # LiveNet (SIGCOMM 2022) 7.1: the player's buffer
CATCHING_UP_US = 3_000_000  # a late joiner's first frames come from the cache


@dataclass(frozen=True, slots=True)
class Verdict:
    """delays_us: of intact frames sent after the first 3 s (all, if the viewing was shorter)."""

    expected: int
    intact: int
    damaged: int
    incomplete: int
    late: int
    late_in_first_3s: int
    smallest_delay_us: int | None
    delays_us: tuple[int, ...]
    first_intact_key_us: int | None


def judge(
    manifest: Manifest,
    frames: Iterable[Frame],
    delivered_times: set[int],
    started_us: int,
    stopped_us: int,
) -> Verdict:
    """delivered_times: RTP times of which any packet came. started_us: when the first one came."""
    received = {frame.rtp_time: frame for frame in frames}
    sent = manifest.frames
    first = next((i for i, f in enumerate(sent) if f.rtp_time in delivered_times), len(sent))
    whole: dict[int, int] = {}
    damaged = 0
    for frame in sent[first:]:
        got = received.get(frame.rtp_time)
        if got is not None and access_unit_hash(got.nals) == frame.hash:
            whole[frame.frame] = got.complete_us - frame.sent_us
        elif got is not None:
            damaged += 1
    smallest = min(whole.values(), default=None)
    limit_us = (smallest or 0) + IN_TIME_US
    expected = [f for f in sent[first:] if f.sent_us + limit_us <= stopped_us]
    settled_us = started_us + CATCHING_UP_US
    late = [f for f in expected if f.frame in whole and whole[f.frame] > limit_us]
    late_at_first = [f for f in late if f.sent_us < settled_us]
    complete = sum(f.frame in whole for f in expected)
    return Verdict(
        expected=len(expected),
        intact=complete - len(late) + len(late_at_first),
        damaged=damaged,
        incomplete=len(expected) - complete - damaged,
        late=len(late) - len(late_at_first),
        late_in_first_3s=len(late_at_first),
        smallest_delay_us=smallest,
        delays_us=_delays(expected, whole, settled_us),
        first_intact_key_us=min(
            (f.sent_us + whole[f.frame] for f in expected if f.key and f.frame in whole),
            default=None,
        ),
    )


def _delays(
    expected: Sequence[SentFrame], whole: dict[int, int], settled_us: int
) -> tuple[int, ...]:
    settled = [whole[f.frame] for f in expected if f.frame in whole and f.sent_us >= settled_us]
    return tuple(sorted(settled or (whole[f.frame] for f in expected if f.frame in whole)))


def percentile(ordered: Sequence[int], share: float) -> int | None:
    """Nearest rank."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
