"""What must hold of what viewers are sent, whatever happens to their nodes and to their own paths.

A node may leave out frames for a viewer; then nothing that needs them follows, numbers go on as if
there had been none, and audio is never among them. A number that stays away is a packet that was
lost: on the way to the viewer, which viewers without an access path do not have, or between nodes,
whose links count what they could not repair.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from lab.scenario.model import ChangeAccess, MoveViewer, SwitchViewer, ViewerEvent
from lab.virtual.audience import Watcher
from lab.virtual.carrying import Carrying
from lab.virtual.figures import ViewerLook
from lab.virtual.run import VirtualOverlay
from lab.virtual.settings import START_US
from relay.edge.plain_rtp import Next

STEADY_US = 3_000_000
"""After the last event between nodes or change of a path: what was on the old path has come."""
WINDOW_S = 4
WHOLE_SHARE = 0.8
"""Of a viewer's frames over WINDOW_S, when all is well again: it loses some on its own path. Not
asked on paths that reorder, which controllers take for full at times."""
MOVED_BY_US = 2_000_000
"""After a switch is due to be carried out unseen or seen: nodes look each 250 ms."""


@dataclass(slots=True)
class _Steady:
    """One stay while nothing happens between nodes."""

    stay: tuple[str, int]
    since_us: int
    look: ViewerLook
    for_good: int
    was_short: bool = False


class Watching:
    """recovery_us: in which all is to be well after the last event."""

    def __init__(self, overlay: VirtualOverlay, carrying: Carrying, recovery_us: int) -> None:
        self.overlay = overlay
        self._carrying = carrying
        self._recovery_us = recovery_us
        self._steady: dict[int, _Steady] = {}
        self._whole: dict[int, deque[tuple[int, int]]] = {}
        self._waiting: dict[int, tuple[tuple[str, int], Next, int]] = {}
        behind = {name for path in overlay.access for name in path.viewers}
        self._in_disorder = {n for p in overlay.access if p.forward.reorder for n in p.viewers}
        self._is_direct = {w.number: w.name not in behind for w in overlay.audience.watchers}
        self._switch_count = 0
        self._switches_us: list[int] = []
        self._unexplained: dict[int, int] = {}
        self._lost: deque[int] = deque(maxlen=3)

    def check(self) -> dict[str, list[str]]:
        """Once a second. What does not hold, by invariant."""
        now_us = self.overlay.world.now_us
        count = sum(len(happened.switches) for happened in self.overlay.happened)
        if count != self._switch_count:
            self._switch_count = count
            self._switches_us.append(now_us)
        found: dict[str, list[str]] = {"numbers": [], "audio": []}
        lost, unrepaired = self._carrying.unrepaired()
        self._lost.append(lost)
        for_good = self._lost[0]  # what was lost lately is missed where it has not come by yet
        for watcher in self.overlay.audience.watchers:
            numbers, audio = self._sent(watcher, for_good, unrepaired)
            found["numbers"].extend(numbers)
            found["audio"].extend(audio)
        found["decodable"] = list(self.undecodable())
        found["whole"] = list(self._frames())
        found["moves"] = list(self._moves())
        return found

    def undecodable(self) -> Iterator[str]:
        """A frame is judged when it is some seconds old, or when its viewer leaves. A node that
        goes on from another neighbour, or lags behind a narrow link, may lack what nobody has any
        more."""
        for watcher in self.overlay.audience.watchers:
            look = self.overlay.world.look(watcher.number)
            is_news = look.unexplained != self._unexplained.get(watcher.number, 0)
            self._unexplained[watcher.number] = look.unexplained
            made_us = look.unexplained_us
            if is_news and not any(a <= made_us <= b for a, b in self._unsteady()):
                at_s = (made_us - START_US) / 1_000_000
                yield f"{watcher.name} was sent a frame of {at_s:.1f} s without what it needs"

    def _unsteady(self) -> Iterator[tuple[int, int]]:
        """From and until when something between nodes may cut into what they have."""
        at_edges = (ChangeAccess, SwitchViewer, MoveViewer, ViewerEvent)
        for happened in self.overlay.happened:
            if not isinstance(happened.event, at_edges):
                yield happened.at_us - STEADY_US, happened.at_us + 2 * STEADY_US
        for at_us in self._switches_us:
            yield at_us - STEADY_US, at_us + STEADY_US

    def _sent(
        self, watcher: Watcher, for_good: int, unrepaired: int
    ) -> tuple[list[str], list[str]]:
        now_us = self.overlay.world.now_us
        viewer, host = watcher.viewer, watcher.host
        if viewer is None or host is None:
            self._steady.pop(watcher.number, None)
            return [], []
        look = self.overlay.world.look(watcher.number)
        stay = host.name, viewer.number
        since_us = max([self._between_nodes_us(), *self._switches_us[-1:]]) + STEADY_US
        steady = self._steady.get(watcher.number)
        if steady is None or steady.stay != stay or steady.since_us < since_us:
            self._steady[watcher.number] = _Steady(stay, now_us, look, for_good)
            return [], []
        numbers, audio = [], []
        if self._is_direct[watcher.number]:
            for medium, before, now in (
                ("video", steady.look.video_missing, look.video_missing),
                ("audio", steady.look.audio_missing, look.audio_missing),
            ):
                if now - before > max(0, unrepaired - steady.for_good):
                    numbers.append(f"{watcher.name} lacks {now - before} numbers of {medium}")
        if look.audio_passed > steady.look.audio_passed:
            times = look.audio_passed - steady.look.audio_passed
            audio.append(f"{watcher.name} was not sent all audio, {times} times")
        # What is being repaired is short for a moment.
        is_short, steady.was_short = steady.was_short, bool(numbers)
        return numbers if is_short else [], audio

    def _between_nodes_us(self) -> int:
        """When something last happened that may cut into what a node has."""
        at_edges = (ChangeAccess, SwitchViewer, MoveViewer, ViewerEvent)
        times = (e.at_us for e in self.overlay.happened if not isinstance(e.event, at_edges))
        return max(times, default=0)

    def _frames(self) -> Iterator[str]:
        """Everybody's picture is whole again."""
        overlay, now_us = self.overlay, self.overlay.world.now_us
        last_us = max((event.at_us for event in overlay.happened), default=0)
        for watcher in overlay.audience.watchers:
            counted = self._whole.setdefault(watcher.number, deque(maxlen=WINDOW_S + 1))
            counted.append((now_us, overlay.world.look(watcher.number).whole))
            begun_us, before = counted[0]
            joined_us = watcher.joined_us
            if joined_us is None or watcher.host is None or len(counted) <= WINDOW_S:
                continue
            if watcher.name in self._in_disorder:
                continue
            if begun_us - max(last_us, joined_us) < self._recovery_us or now_us > overlay.end_us:
                continue
            whole = counted[-1][1] - before
            expected = (now_us - begun_us) * watcher.broadcast.fps // 1_000_000
            if whole < WHOLE_SHARE * expected:
                yield f"{watcher.name} got {whole} whole frames of {expected}"

    def _moves(self) -> Iterator[str]:
        """Every change of version or of broadcast ends."""
        now_us = self.overlay.world.now_us
        last_us = max((event.at_us for event in self.overlay.happened), default=0)
        for watcher in self.overlay.audience.watchers:
            viewer, host = watcher.viewer, watcher.host
            following = viewer.next if viewer is not None else None
            if viewer is None or host is None or following is None:
                self._waiting.pop(watcher.number, None)
                continue
            stay = host.name, viewer.number
            before = self._waiting.get(watcher.number)
            since_us = now_us
            if before is not None and before[0] == stay and _is_same(before[1], following):
                since_us = before[2]
            self._waiting[watcher.number] = stay, following, since_us
            name = f"{watcher.name} at {host.name}"
            if following.by_us is not None and now_us > following.by_us + MOVED_BY_US:
                yield f"{name} was to go on with {following.broadcast} by {following.by_us} us"
            elif now_us - max(since_us, last_us) > self._recovery_us:
                yield f"{name} waits for {following.broadcast} for {now_us - since_us} us"


def _is_same(one: Next, other: Next) -> bool:
    return (one.broadcast, one.version) == (other.broadcast, other.version)
