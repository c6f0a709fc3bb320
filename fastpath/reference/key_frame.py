"""A key frame is asked for hop by hop; each node merges what its subscribers want.

Who wants one: a node downstream, a ring that lost the start of its newest GoP, a cursor that found
no key frame to go on at, viewers of a stream that begins within a GoP. The request or its answer
may be lost: it is repeated until a key frame comes.
"""

from fastpath.reference.feedback import KEY_WANTED
from fastpath.reference.send import send_message
from fastpath.reference.wire import PacketType
from fastpath.reference.worker import Stream, Worker

SHORTEST_INTERVAL_US = 500_000


def ask_for_key_frames(worker: Worker, now_us: int) -> None:
    """Once per turn, among the streams that something happened to."""
    for stream in worker.dirty:
        if not stream.is_video or stream.ring.key_frames != stream.key_frames_before:
            stream.wants_key = False
        if stream.wants_key and stream.is_open:
            _ask(worker, stream, now_us)


def _ask(worker: Worker, stream: Stream, now_us: int) -> None:
    asked_us = stream.key_asked_us
    if asked_us is not None and now_us - asked_us < SHORTEST_INTERVAL_US:
        return
    stream.key_asked_us = now_us
    if stream.upstream is not None:
        message = bytes([KEY_WANTED]) + stream.stream_id.to_bytes(4)
        send_message(worker, stream.upstream, PacketType.FEEDBACK, message, now_us)
