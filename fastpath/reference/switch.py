"""Going on with another stream: at once, when the old one is over, or when nobody can see it.

Unseen: the viewer is sent the old stream up to the end of a frame, and then the new one from a key
frame that is newer than this one and whole, with all that has come behind it. Sequence numbers go
on, and RTP time by what went by between the two frames where they were made.
"""

from __future__ import annotations

from fastpath.events import ViewerSwitched
from fastpath.reference.cursor import GOES_ON, Cursor, State
from fastpath.reference.link import CLASSES
from fastpath.reference.ring import Packet
from fastpath.reference.wire import LOW_32
from fastpath.reference.worker import Stream, Worker
from rtp.payload.marks import Marks
from rtp.sequence import difference

TOGETHER_US = 15_000  # pictures of one moment come so far apart
MOST_LACKING = 256  # packets in a row that are looked past
AGAIN_US = 150_000  # what may be shown twice, so that a key frame is not just missed


def queue_cursor(cursor: Cursor) -> None:
    """Put the cursor at the end of its class's turn on its link, if it does not stand in it."""
    queue = cursor.link.queues[class_of(cursor.stream)]
    if cursor not in queue:
        queue.append(cursor)


def class_of(stream: Stream) -> int:
    """Of everything that belongs to the stream."""
    return CLASSES[stream.is_video]


def unqueue_cursor(cursor: Cursor) -> None:
    """It no longer waits for its turn."""
    queue = cursor.link.queues[class_of(cursor.stream)]
    if cursor in queue:
        queue.remove(cursor)


def part_stream(cursor: Cursor) -> None:
    """The stream no longer knows the cursor; what it was sent of it is remembered."""
    cursor.close_span()
    cursor.stream.cursors.remove(cursor)


def join_stream(cursor: Cursor, stream: Stream) -> None:
    """It follows this stream."""
    cursor.stream = stream
    stream.cursors.insert(0, cursor)


def begin_cursor(worker: Worker, cursor: Cursor) -> None:
    """Let it stand where it can begin, and have its link look at it."""
    settings = worker.settings
    stands = cursor.begin(gop_cache=settings.gop_cache, start_at_gop=settings.start_at_gop)
    if not stands and cursor.stream.has_started:
        worker.want_key_frame(cursor.stream)
    cursor.began_us, cursor.has_switched = worker.turn_us, False
    queue_cursor(cursor)
    worker.mark_ready(cursor.link)


def move_at_once(worker: Worker, cursor: Cursor, stream: Stream, payload_type: int) -> None:
    """Same SSRC, next number; RTP time goes on by what goes by until its first packet."""
    cursor.switch_to = None
    unqueue_cursor(cursor)
    part_stream(cursor)
    join_stream(cursor, stream)
    cursor.payload_type = payload_type
    cursor.has_moved, cursor.next_report_us = True, 0
    begin_cursor(worker, cursor)


def want_switch(worker: Worker, cursor: Cursor, stream: Stream, payload_type: int) -> None:
    """Another wish takes the place of the one before; the stream that it follows ends it."""
    cursor.switch_to = None
    if stream is cursor.stream:
        cursor.payload_type = payload_type
        worker.post(ViewerSwitched(cursor.handle, cursor.stream.handle))
    elif not stream.is_video:
        move_at_once(worker, cursor, stream, payload_type)
        worker.post(ViewerSwitched(cursor.handle, cursor.stream.handle))
    else:
        cursor.switch_to, cursor.switch_payload_type = stream, payload_type
        if cursor.state is State.ACTIVE:
            cursor.state = State.BEHIND
        queue_cursor(cursor)
        worker.mark_ready(cursor.link)


def settle_switches(worker: Worker, stream: Stream) -> None:
    """This stream is about to be removed: who is to leave it, leaves at once."""
    for cursor in list(stream.cursors):
        if cursor.switch_to is not None:
            move_at_once(worker, cursor, cursor.switch_to, cursor.switch_payload_type)
            worker.post(ViewerSwitched(cursor.handle, cursor.stream.handle))


def _last_held(stream: Stream, first: int, end: int) -> tuple[Packet | None, bool]:
    """The last packet of these that is held; and whether others are behind it."""
    for seq in range(end - 1, max(first, end - MOST_LACKING) - 1, -1):
        if (packet := stream.ring.packets.get(seq)) is not None:
            return packet, seq != end - 1
    return None, first != end


def _last_sent(cursor: Cursor) -> tuple[Packet | None, bool]:
    """What it was sent last of the stream it follows, before its last jump if nothing since, if
    that is still held; and whether packets after that one have been lost, and passed over."""
    last, is_lacking = _last_held(cursor.stream, cursor.start, cursor.next)
    if last is not None or cursor.next - cursor.start >= MOST_LACKING:
        return last, is_lacking
    if not cursor.spans or cursor.spans[0].stream is not cursor.stream:
        return None, is_lacking
    last, is_before = _last_held(cursor.stream, cursor.spans[0].first, cursor.spans[0].end)
    return last, is_lacking or is_before


def _may_leave(cursor: Cursor, last: Packet | None, is_lacking: bool, key: Packet) -> bool:
    """No frame has been begun that is not finished, and all is sent that is older than the key
    frame; or it would not be anyway."""
    following = cursor.stream.ring.packets.get(cursor.next)
    if cursor.state not in GOES_ON or last is None:
        return True
    is_between = not is_lacking and bool(last.marks & Marks.FRAME_END)
    if not is_between and not (following and following.marks & Marks.FRAME_START):
        return False
    return following is None or _made_us(following) + TOGETHER_US >= _made_us(key)


def _rtp_time(packet: Packet) -> int:
    return int.from_bytes(packet.payload[4:8])


def _made_us(packet: Packet) -> int:
    """When its broadcaster's node had it: what was cached on its way came later."""
    return packet.arrival_us - packet.delay * 250


def _join_time(cursor: Cursor, last: Packet | None, key: Packet, rate: int, now_us: int) -> None:
    """The key frame's RTP time is as much after the last frame's as it was made after it, and
    never before what was sent."""
    if not cursor.last_sent_us:
        return
    if last is not None:
        passed_us = _made_us(key) - _made_us(last)
        timestamp = _rtp_time(last) + cursor.timestamp_offset
    else:
        passed_us = now_us - cursor.last_sent_us
        timestamp = cursor.last_timestamp
    ticks = abs(passed_us) * rate // 1_000_000  # rounded towards 0
    timestamp += ticks if passed_us >= 0 else -ticks
    if difference(timestamp & LOW_32, cursor.last_timestamp, 32) <= 0:
        timestamp = cursor.last_timestamp + 1
    cursor.timestamp_offset = timestamp - _rtp_time(key)


def try_switch(worker: Worker, cursor: Cursor, now_us: int) -> bool:
    """Leave for the stream it is to go on with, if nobody can see it now. True if it has."""
    to, (last, is_lacking) = cursor.switch_to, _last_sent(cursor)
    assert to is not None
    if to.ring.gop_start is None:
        return False
    key = to.ring.packets[to.ring.gop_start]
    if not _may_leave(cursor, last, is_lacking, key):
        return False
    if last is not None and _made_us(last) - _made_us(key) > AGAIN_US:
        return False
    start = to.ring.whole_gop()
    if start is None:
        return False
    part_stream(cursor)  # first: what was sent is remembered with its own times
    _join_time(cursor, last, key, to.clock_rate, now_us)
    join_stream(cursor, to)
    cursor.payload_type = cursor.switch_payload_type
    cursor.has_moved, cursor.next_report_us, cursor.switch_to = False, 0, None
    cursor.jump(start)
    cursor.state, cursor.began_us, cursor.has_switched = State.CATCHES_UP, now_us, True
    worker.post(ViewerSwitched(cursor.handle, cursor.stream.handle))
    return True
