"""What an overloaded worker sheds: never control, feedback, probes or HELLO, and audio last.

Video goes by whole streams; one that is shed stays so until its next key frame, and begins and ends
at frames. Beyond all video, media is shed by its header's class before the tag is checked; the
numbers that are missing then are no holes.
"""

from collections import Counter

from fastpath.events import OverloadBegan, OverloadEnded
from fastpath.reference.link import Link
from fastpath.reference.overload import (
    AUDIO,
    DISCARDABLE,
    STREAMS,
    UNCHECKED,
    UNCHECKED_VIDEO,
    Change,
)
from fastpath.reference.ring import JUMP_REACH, LARGEST
from fastpath.reference.skip import skip_packets
from fastpath.reference.wire import TrafficClass
from fastpath.reference.worker import Shed, ShedState, Stream, Worker
from rtp.payload.marks import Marks

REORDERED_PACKETS = 64
KINDS = (
    "shed_discardable",
    "shed_video",
    "shed_until_key",
    "shed_unchecked_video",
    "shed_audio",
    "shed_unchecked_audio",
    "shed_repair",
)


def is_chosen(worker: Worker, stream: Stream) -> bool:
    """The same streams as long as the step is."""
    return (
        stream.stream_id * 2_654_435_769 & 0xFFFFFFFF
    ) >> 28 < worker.overload.step - STREAMS + 1


def shed_media(
    worker: Worker, stream: Stream, number: int, marks: int, arrival_us: int
) -> str | None:
    """The verdict that ends this packet; None: it goes on."""
    overload = worker.overload
    if not overload.step and stream.shed.state is ShedState.NO and not stream.shed.drops_frame:
        return None
    if not stream.is_video:
        verdict = "shed_audio" if overload.step >= AUDIO else None
    else:
        verdict = _shed_whole(worker, stream, number, marks)
        verdict = verdict or _shed_frame(worker, stream.shed, marks)
    cost = 2 + 3 * len(stream.cursors)
    if verdict is None:
        overload.work += cost
        return None
    overload.on_shed(cost, is_awaited=verdict == "shed_until_key")
    stream.last_packet_us = arrival_us  # it has not fallen silent
    return verdict


def _shed_frame(worker: Worker, shed: Shed, marks: int) -> str | None:
    if marks & Marks.FRAME_START:
        shed.drops_frame = worker.overload.step >= DISCARDABLE and bool(marks & Marks.DISCARDABLE)
    if shed.drops_frame and marks & Marks.DISCARDABLE:
        return "shed_discardable"
    return None


def _shed_whole(worker: Worker, stream: Stream, number: int, marks: int) -> str | None:
    shed = stream.shed
    is_under_way = shed.state in (ShedState.CHOSEN, ShedState.AWAITING)
    if is_chosen(worker, stream) and (is_under_way or marks & Marks.FRAME_START):
        if not is_under_way:
            shed.first = shed.newest = number
        shed.state, shed.drops_frame = ShedState.CHOSEN, False
        shed.newest = max(shed.newest, number)
        return "shed_video"
    if shed.state is ShedState.CHOSEN:
        shed.state = ShedState.AWAITING
        worker.want_key_frame(stream)
    if shed.state is ShedState.AWAITING:
        if marks & Marks.GOP_START and number > shed.newest:
            _resume(worker, stream, number)
            return None
        if marks & Marks.FRAME_START:
            worker.mark_dirty(stream)  # asked for again if need be
        shed.newest = max(shed.newest, number)
        return "shed_until_key"
    if shed.state is ShedState.RESUMED:
        if shed.first <= number < shed.resumed:
            return "shed_until_key"
        if number - shed.resumed > REORDERED_PACKETS:
            shed.state, shed.drops_frame = ShedState.NO, False
    return None


def _resume(worker: Worker, stream: Stream, number: int) -> None:
    """Go on at a key frame. What was shed confirms a step that is larger than any ring."""
    shed, ring = stream.shed, stream.ring
    if number - ring.head >= LARGEST and number - shed.newest <= JUMP_REACH:
        ring.jumped_to = shed.newest
    shed.state, shed.drops_frame, shed.resumed = ShedState.RESUMED, False, number
    skip_packets(worker, stream, shed.first, number - shed.first, worker.turn_us)


def shed_unchecked(worker: Worker, traffic_class: int) -> str | None:
    """The verdict of media that is not worth its check."""
    is_audio = traffic_class == TrafficClass.AUDIO
    if worker.overload.step < (UNCHECKED if is_audio else UNCHECKED_VIDEO):
        return None
    worker.overload.unchecked += 1
    worker.overload.work += 1
    return "shed_unchecked_audio" if is_audio else "shed_unchecked_video"


def forgive_unchecked(worker: Worker, link: Link, hop_seq: int) -> None:
    """The first packet ahead on a link after something was shed unchecked: the numbers it skips may
    be that, so they are no holes (their packets are taken if they come yet)."""
    if link.unchecked_seen == worker.overload.unchecked or hop_seq <= link.highest:
        return
    link.unchecked_seen = worker.overload.unchecked
    link.give_up_holes()
    link.highest = hop_seq - 1


def shed_answer(worker: Worker, stream: Stream) -> bool:
    """A packet asked for again is of a stream that is shed: it is gone."""
    step = worker.overload.step
    is_shed = step > 0 and (is_chosen(worker, stream) if stream.is_video else step >= AUDIO)
    worker.count("shed_repair", is_shed)
    return is_shed


def _choose_all(worker: Worker) -> None:
    """From now on packets may go unseen: each video stream waits for a key frame afterwards."""
    for stream in worker.streams:
        shed = stream.shed
        if not stream.is_video or not stream.has_started:
            continue
        if shed.state not in (ShedState.CHOSEN, ShedState.AWAITING):
            shed.first, shed.newest = stream.ring.head, stream.ring.head - 1
        shed.state, shed.drops_frame = ShedState.CHOSEN, False


def shed_turn(worker: Worker, now_us: int) -> None:
    """At the end of a turn: shed more, less, or as before; say when it begins and is over."""
    overload, before = worker.overload, worker.overload.step
    change = overload.turn(now_us)
    if overload.step >= UNCHECKED_VIDEO > before:
        _choose_all(worker)
    if change is Change.BEGAN:
        worker.shed_before = Counter({kind: worker.counters[kind] for kind in KINDS})
        worker.post(OverloadBegan(overload.age_us))
    elif change is Change.ENDED:
        counts = {kind: worker.counters[kind] - worker.shed_before[kind] for kind in KINDS}
        shed = {kind: count for kind, count in counts.items() if count}
        lasted_us = overload.zero_us - overload.began_us
        worker.post(OverloadEnded(lasted_us, overload.highest_step, shed))
