"""Dropping for a viewer whose link is too slow: what the queue, head minus cursor, may come to.

A packet may wait max_lag_us, and max_lag_bytes may wait together. Before that is used up, frames
are left out in the order of what they are worth: at half of it those that no other frame refers to,
at seven eighths all up to the next key frame, at the whole a key frame and what follows it. What
counts is when a frame's last packet would leave, so that a frame that is begun can be finished; if
it cannot after all, its rest and the rest of its GoP are left out. Frames that would make a newer
key frame late go before that does. A key frame that is too large for the limit by itself is sent
nonetheless if next to nothing waits before it.
"""

from __future__ import annotations

from enum import IntEnum

from fastpath.events import KeyFrameWanted, ViewerLags
from fastpath.reference.cursor import GOES_ON, SKIPS, Cursor, State
from fastpath.reference.link import VIDEO, Link
from fastpath.reference.ring import Packet, Ring
from fastpath.reference.switch import try_switch
from fastpath.reference.wire import LOW_32
from fastpath.reference.worker import Worker
from rtp.payload.marks import Marks

EIGHTHS = 8  # of the limits, at which a frame is left out:
DISCARDABLE_AT, PREDICTED_AT = 4, 7
TOLD_AT = 2
ALONE = 2  # a key frame with less than this before it is sent, however large it is
KEY_PATIENCE = 2  # limits that a key frame once begun may take
CATCH_UP_US = 2_000_000
TELL_US = 250_000


class Kind(IntEnum):
    """What is left out; the places of `SKIPS` and of `Cursor.dropped`."""

    DISCARDABLE = 0
    PREDICTED = 1
    GOP = 2


NAMES = ("dropped_discardable", "dropped_predicted", "dropped_gop")


def frame_at(ring: Ring, first: int) -> list[Packet]:
    """The packets of the frame that begins here, as far as they are held without a hole."""
    frame: list[Packet] = []
    for number in range(first, ring.head):
        packet = ring.packets.get(number)
        if packet is None or (number != first and packet.marks & Marks.FRAME_START):
            break
        frame.append(packet)
        if packet.marks & Marks.FRAME_END:
            break
    return frame


def _is_beyond(worker: Worker, lag_us: int, lag_bytes: int, eighths: int) -> bool:
    settings = worker.settings
    return (
        lag_us * EIGHTHS > settings.max_lag_us * eighths
        or lag_bytes * EIGHTHS > settings.max_lag_bytes * eighths
    )


def _judge_rest(worker: Worker, cursor: Cursor, packet: Packet) -> Kind | None:
    """A frame has been begun: is it worth finishing?"""
    limit = EIGHTHS * KEY_PATIENCE if packet.marks & Marks.KEY else EIGHTHS
    if not _is_beyond(worker, cursor.lag_us, cursor.lag_bytes, limit):
        return None
    return Kind.DISCARDABLE if packet.marks & Marks.DISCARDABLE else Kind.GOP


def _delays_key(worker: Worker, cursor: Cursor, now_us: int) -> bool:
    """If all up to the newest key frame here is sent, would that be too late?"""
    ring = cursor.stream.ring
    if ring.gop_start is None or ring.gop_start <= cursor.next:
        return False
    arrived_us = max(ring.packets[ring.gop_start].arrival_us, cursor.began_us)
    size = sum(len(part.payload) for part in frame_at(ring, ring.gop_start))
    # A packet that came late counts where it came.
    size += ring.bytes_before[ring.gop_start] - ring.bytes_before[cursor.next]
    size &= LOW_32
    until_us = now_us - arrived_us + size * 8_000_000 // cursor.link.target_bps
    return _is_beyond(worker, until_us, 0, EIGHTHS)


def judge(worker: Worker, cursor: Cursor, packet: Packet, now_us: int) -> Kind | None:
    """As what the next packet is dropped, with those that it takes along; None: it is sent."""
    ring = cursor.stream.ring
    catches_up = cursor.state is State.CATCHES_UP
    lag_bytes = 0 if catches_up else cursor.lag_bytes
    if worker.settings.max_lag_us == 0:
        return None
    if not packet.marks & Marks.FRAME_START:
        return None if catches_up else _judge_rest(worker, cursor, packet)
    frame = frame_at(ring, cursor.next)
    size = sum(len(part.payload) for part in frame)
    until_us = cursor.lag_us + size * 8_000_000 // cursor.link.target_bps
    if any(part.marks & Marks.KEY for part in frame):
        if catches_up or not _is_beyond(worker, until_us, lag_bytes, EIGHTHS):
            return None
        return Kind.GOP if _is_beyond(worker, cursor.lag_us, 0, ALONE) else None
    if all(part.marks & Marks.DISCARDABLE for part in frame):
        is_late = _is_beyond(worker, until_us, lag_bytes, DISCARDABLE_AT)
        return Kind.DISCARDABLE if is_late or _delays_key(worker, cursor, now_us) else None
    if _delays_key(worker, cursor, now_us):
        return Kind.PREDICTED
    if not _is_beyond(worker, until_us, lag_bytes, PREDICTED_AT):
        return None
    if catches_up and (ring.gop_start is None or ring.gop_start <= cursor.next):
        return None
    return Kind.PREDICTED


def _count_dropped(worker: Worker, cursor: Cursor, kind: Kind) -> None:
    cursor.dropped[kind] += 1
    worker.count(NAMES[kind])


def _after_skip(cursor: Cursor) -> State:
    return State.CATCHES_UP if cursor.began_us else State.BEHIND


def _skip_frame(worker: Worker, cursor: Cursor) -> bool:
    """The rest of a discardable frame, as far as it has come; True at its end. A hole may be
    another frame's, so its number is kept."""
    ring = cursor.stream.ring
    while cursor.next < ring.head:
        packet = ring.packets.get(cursor.next)
        if packet is None:
            cursor.next += 1
            continue
        if packet.marks & Marks.FRAME_START or not packet.marks & Marks.DISCARDABLE:
            return True
        _count_dropped(worker, cursor, Kind.DISCARDABLE)
        cursor.jump(cursor.next + 1)
        if packet.marks & Marks.FRAME_END:
            return True
    return False


def _skip_to_key(worker: Worker, cursor: Cursor) -> bool:
    """All up to the next key frame, as far as it has come; True if that is here. Its start may have
    been recovered behind the head."""
    ring, kind = cursor.stream.ring, Kind(SKIPS.index(cursor.state))
    if ring.gop_start is not None and cursor.skipped_from < ring.gop_start < cursor.next:
        cursor.jump(ring.gop_start)
        return True
    while cursor.next < ring.head:
        packet = ring.packets.get(cursor.next)
        if packet is not None:
            if packet.marks & Marks.GOP_START:
                return True
            _count_dropped(worker, cursor, kind)
        cursor.jump(cursor.next + 1)
    return False


def _is_skipping(worker: Worker, cursor: Cursor) -> bool:
    """It leaves out what has come; False if it goes on at what is next."""
    if cursor.state not in SKIPS:
        return False
    skip = _skip_frame if cursor.state is State.SKIPS_FRAME else _skip_to_key
    if not skip(worker, cursor):
        return True
    cursor.state = _after_skip(cursor)
    return False


def _begin_skip(worker: Worker, cursor: Cursor, packet: Packet, kind: Kind, now_us: int) -> None:
    """Leave out this packet, and with it what `kind` says."""
    if cursor.link.pacer is not None:
        cursor.link.pacer.left_out_us = now_us
    cursor.state = SKIPS[kind]
    cursor.skipped_from = cursor.next
    _count_dropped(worker, cursor, kind)
    cursor.jump(cursor.next + 1)
    if kind is Kind.DISCARDABLE and packet.marks & Marks.FRAME_END:
        cursor.state = _after_skip(cursor)


def _tell(worker: Worker, cursor: Cursor, now_us: int) -> None:
    """Python, now and then, of a viewer that lags or was not sent something."""
    if now_us - cursor.told_us < TELL_US or worker.settings.max_lag_us == 0:
        return
    dropped = sum(cursor.dropped)
    is_late = cursor.state is not State.CATCHES_UP and _is_beyond(
        worker, cursor.lag_us, cursor.lag_bytes, TOLD_AT
    )
    if dropped != cursor.told_dropped or is_late:
        worker.post(ViewerLags(cursor.handle, cursor.lag_us, dropped - cursor.told_dropped))
        cursor.told_us, cursor.told_dropped = now_us, dropped


def _seek(worker: Worker, cursor: Cursor) -> Packet | None:
    """Cursor.seek, and a key frame asked for if it now waits for one."""
    stood = cursor.stands
    packet = cursor.seek()
    if stood and cursor.state is State.WAITS_FOR_KEY:
        worker.post(KeyFrameWanted(cursor.stream.handle))
        worker.want_key_frame(cursor.stream)
    is_leaving = cursor.switch_to is not None
    if packet is None:
        cursor.lag_us = cursor.lag_bytes = 0
        if cursor.state in GOES_ON:
            cursor.began_us = 0
            cursor.state = State.BEHIND if is_leaving else State.ACTIVE
    elif cursor.state is State.ACTIVE and is_leaving:
        cursor.state = State.BEHIND
    return packet


def look(worker: Worker, cursor: Cursor, now_us: int) -> Packet | None:
    """What a cursor is to send next: it may leave others out, or change its stream."""
    if cursor.viewer is None or not cursor.stream.is_video:
        return _seek(worker, cursor)
    while True:
        if cursor.switch_to is not None and try_switch(worker, cursor, now_us):
            continue
        if cursor.next >= cursor.stream.ring.tail and _is_skipping(worker, cursor):
            cursor.lag_us = cursor.lag_bytes = 0
            _tell(worker, cursor, now_us)
            return None
        packet = _seek(worker, cursor)
        if packet is None or cursor.state is State.ACTIVE:
            return packet
        cursor.measure_lag(packet, now_us)
        is_too_late = cursor.has_switched and _is_beyond(worker, cursor.lag_us, 0, EIGHTHS)
        if cursor.state is State.CATCHES_UP and (
            now_us - cursor.began_us > CATCH_UP_US or is_too_late
        ):
            cursor.state, cursor.began_us = State.BEHIND, 0
        kind = judge(worker, cursor, packet, now_us)
        if kind is None:
            _tell(worker, cursor, now_us)
            return packet
        _begin_skip(worker, cursor, packet, kind, now_us)


def look_at_blocked(worker: Worker, link: Link, now_us: int) -> None:
    """The link has no room now: its video cursors that have something to send lag from here."""
    for cursor in list(link.queues[VIDEO]):
        if cursor.state is State.ACTIVE:
            cursor.state = State.BEHIND
        look(worker, cursor, now_us)
