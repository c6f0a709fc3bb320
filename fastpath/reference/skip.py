"""SKIP: an overloaded node has left out whole frames, and says so before it goes on at a key frame.

SKIP  8, stream_id u32, first stream_seq u32, count u32

What it did not send has no hop_seq, so nobody asks for it on the link; but its numbers would be
lacked in rings downstream, and gaps to viewers.
"""

from fastpath.events import KeyFrameWanted
from fastpath.reference.link import Link
from fastpath.reference.send import SKIP_FIELDS, say_skip
from fastpath.reference.worker import Stream, Worker


def skip_packets(worker: Worker, stream: Stream, first: int, count: int, now_us: int) -> None:
    """They will not come: nobody here lacks them, and nodes that follow the stream are told."""
    had_gop = stream.ring.gop_start is not None
    skipped = stream.ring.skip(first, count, now_us)
    if not skipped:
        return
    worker.count("skipped_upstream", skipped)
    if had_gop and stream.ring.gop_start is None:
        worker.post(KeyFrameWanted(stream.handle))
        worker.want_key_frame(stream)
    worker.mark_dirty(stream)
    for cursor in stream.cursors:
        if cursor.viewer is None:
            say_skip(worker, cursor.link, stream.stream_id, first, count, now_us)


def on_skip(worker: Worker, link: Link, body: bytes, now_us: int) -> None:
    stream_id, first, count = SKIP_FIELDS.unpack_from(body)
    stream = worker.find_stream(stream_id)
    if stream is None or stream.second_upstream is not None:
        return  # the other path may bring it
    if stream.comes_from(link):
        skip_packets(worker, stream, stream.ring.extended(first), count, now_us)
