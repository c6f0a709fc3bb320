"""A player's playout buffer, computed from when each frame was complete.

Play begins when 300 ms of media are buffered, or 300 ms after the first frame. It runs 1.5 times
faster while more than the target is buffered. A picture that is due but missing is passed over if a
later one is there; if none is, the buffer is empty: that is a freeze, until the next one comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

TARGET_US = 300_000  # LiveNet (SIGCOMM 2022) 6.2: a player buffer of 300 ms
CATCH_UP = 1.5  # chosen: speech is still understood


@dataclass(frozen=True, slots=True)
class PlayoutResult:
    started_us: int | None
    freezes: int
    freeze_us: int
    skipped: int


def play_out(frames: Sequence[tuple[int, int | None]]) -> PlayoutResult:
    """frames: (media time us, time complete us or None), in the order of media time."""
    complete = [(media, at) for media, at in frames if at is not None]
    if not complete:
        return PlayoutResult(None, 0, 0, 0)
    started_us = _start(complete)
    freezes = skipped = freeze_us = 0
    due_us = started_us
    # Newest media that has arrived by `due_us`, for the buffer's length.
    by_arrival = sorted(complete, key=lambda frame: frame[1])
    arrived = 0
    newest_media = complete[0][0]
    previous_media = complete[0][0]
    for index, (media, at) in enumerate(frames):
        if media < complete[0][0]:
            continue
        step = media - previous_media
        while arrived < len(by_arrival) and by_arrival[arrived][1] <= due_us:
            newest_media = max(newest_media, by_arrival[arrived][0])
            arrived += 1
        is_ahead = newest_media - previous_media > TARGET_US
        due_us += round(step / CATCH_UP) if is_ahead else step
        previous_media = media
        if at is not None and at <= due_us:
            continue
        later = [c for _, c in frames[index + 1 : index + 90] if c is not None]
        if any(c <= due_us for c in later):
            skipped += 1
            continue
        waiting = ([at] if at is not None else []) + later
        if not waiting:
            break  # the stream is over
        freezes += 1
        freeze_us += min(waiting) - due_us
        due_us = min(waiting)
        if at is None or at > due_us:
            skipped += 1
    return PlayoutResult(started_us, freezes, freeze_us, skipped)


def _start(complete: Sequence[tuple[int, int]]) -> int:
    first_media, first_at = complete[0]
    enough = [at for media, at in complete if media - first_media >= TARGET_US]
    return min([first_at + TARGET_US, *(max(first_at, at) for at in enough)])
