"""From what a player kept to figures: frames by content, sound by content, flash against beep."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.clients.source import FLASH_EVERY_S, Contents


@dataclass(frozen=True, slots=True)
class Received:
    """sent: from the first one kept to the last. kept = intact + damaged + repeated.

    after_last: what the source sent after the last one kept; a player that is interrupted leaves
    its decoder's and its jitter buffer's contents behind.
    """

    sent: int
    kept: int
    intact: int
    damaged: int
    repeated: int
    missing: int
    after_last: int

    @property
    def is_whole(self) -> bool:
        return self.sent == self.intact == self.kept > 0


@dataclass(frozen=True, slots=True)
class LipSync:
    """How much later the picture comes than the sound. 7 ms belong to the sound's codec: it begins
    with so much silence, which only files tell players to leave out (RFC 7845 4.2)."""

    pairs: int
    first_ms: float | None
    median_ms: float | None
    worst_ms: float | None


def judge_track(source: Sequence[str], kept: Sequence[str]) -> Received:
    """Compare digests. A unit that the source does not have was damaged."""
    place = {name: index for index, name in enumerate(source)}
    assert len(place) == len(source), "the source repeats itself"
    found = [place[name] for name in kept if name in place]
    sent = max(found) - min(found) + 1 if found else 0
    intact = len(set(found))
    return Received(
        sent=sent,
        kept=len(kept),
        intact=intact,
        damaged=len(kept) - len(found),
        repeated=len(found) - intact,
        missing=sent - intact,
        after_last=len(source) - 1 - max(found, default=-1),
    )


@dataclass(frozen=True, slots=True)
class Sequenced:
    """Units of several sources, one after the other. intact: of each source. damaged: of none.
    backwards: that come after a later one of the same source. runs: (source, first, last unit),
    each as long as only its own next ones follow."""

    kept: int
    intact: list[int]
    damaged: int
    repeated: int
    backwards: int
    runs: list[tuple[int, int, int]]


def judge_sequence(sources: Sequence[Sequence[str]], kept: Sequence[str]) -> Sequenced:
    """A unit that several sources have is taken for the next of the one under way."""
    places = [{name: at for at, name in enumerate(units)} for units in sources]
    intact = [0] * len(sources)
    damaged = repeated = backwards = 0
    seen: set[str] = set()
    newest = [-1] * len(sources)
    runs: list[tuple[int, int, int]] = []
    for name in kept:
        current = runs[-1][0] if runs else 0
        order = [current, *(n for n in range(len(sources)) if n != current)]
        source = next((n for n in order if name in places[n]), None)
        if source is None:
            damaged += 1
            continue
        at = places[source][name]
        intact[source] += name not in seen
        repeated += name in seen
        seen.add(name)
        backwards += at < newest[source]
        newest[source] = max(newest[source], at)
        if runs and runs[-1][0] == source and runs[-1][2] + 1 == at:
            runs[-1] = (source, runs[-1][1], at)
        else:
            runs.append((source, at, at))
    return Sequenced(len(kept), intact, damaged, repeated, backwards, runs)


def judge_lip_sync(kept: Contents) -> LipSync:
    """Each flash with the beep nearest to it; the source has them at the same instant."""
    offsets = offsets_ms(kept)
    if not offsets:
        return LipSync(0, None, None, None)
    low, high = min(offsets), max(offsets)
    return LipSync(
        pairs=len(offsets),
        first_ms=offsets[0],
        median_ms=round(statistics.median(offsets), 1),
        worst_ms=low if -low > high else high,
    )


def offsets_ms(contents: Contents) -> list[float]:
    """Flash less beep of each pair that lies within half a period."""
    offsets = []
    for flash_s in contents.flashes_s:
        beep_s = min(contents.beeps_s, key=lambda beep: abs(beep - flash_s), default=None)
        if beep_s is not None and abs(beep_s - flash_s) < FLASH_EVERY_S / 2:
            offsets.append(round(1000 * (flash_s - beep_s), 1))
    return offsets
