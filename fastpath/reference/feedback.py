"""Feedback packets by their first byte. Three are in `repair`, ARRIVALS in `arrivals_report`, SKIP
in `skip`; the others, in network order:

CLOCK       4, stream_id u32, timestamp u32, ntp u64: how the media's clocks stand as this leaves
KEY_WANTED  5, stream_id u32: somebody downstream cannot go on without a key frame
"""

from fastpath.reference.arrivals_report import ARRIVALS, HEAD, on_arrivals
from fastpath.reference.link import Link
from fastpath.reference.media_clock import CLOCK, CLOCK_FIELDS, MediaClock
from fastpath.reference.repair import (
    GONE,
    GONE_FIELDS,
    ITEM,
    REQUEST,
    VOID,
    on_gone,
    on_request,
    on_void,
)
from fastpath.reference.report import report_soon
from fastpath.reference.send import SKIP, SKIP_FIELDS
from fastpath.reference.skip import on_skip
from fastpath.reference.worker import Worker

KEY_WANTED = 5
STREAM_ID_BYTES = 4
LEAST_BYTES = {  # after the first byte
    REQUEST: ITEM.size,
    VOID: ITEM.size,
    GONE: GONE_FIELDS.size,
    CLOCK: CLOCK_FIELDS.size,
    KEY_WANTED: STREAM_ID_BYTES,
    ARRIVALS: HEAD.size,
    SKIP: SKIP_FIELDS.size,
}


def receive_feedback(worker: Worker, link: Link, payload: bytes, now_us: int) -> str:
    kind, body = payload[:1], payload[1:]
    if not kind or len(body) < LEAST_BYTES.get(kind[0], len(body) + 1):
        return "malformed"
    if kind[0] == REQUEST:
        on_request(worker, link, payload, now_us)
    elif kind[0] == VOID:
        on_void(link, payload)
    elif kind[0] == GONE:
        on_gone(worker, link, payload, now_us)
    elif kind[0] == CLOCK:
        on_clock(worker, link, body, now_us)
    elif kind[0] == ARRIVALS:
        on_arrivals(link, body, now_us)
    elif kind[0] == SKIP:
        on_skip(worker, link, body, now_us)
    else:
        on_key_wanted(worker, link, body)
    return "feedback_taken"


def on_clock(worker: Worker, link: Link, body: bytes, now_us: int) -> None:
    stream_id, timestamp, ntp = CLOCK_FIELDS.unpack_from(body)
    stream = worker.find_stream(stream_id)
    if stream is None or stream.upstream is not link:
        return
    if stream.clock is None or stream.clock.jumps_to(timestamp, stream.clock_rate, now_us):
        report_soon(stream)
    stream.clock = MediaClock(timestamp, ntp, now_us)


def on_key_wanted(worker: Worker, link: Link, body: bytes) -> None:
    """From a node that follows this stream here; anybody else has no say."""
    stream = worker.find_stream(int.from_bytes(body[:STREAM_ID_BYTES]))
    if stream is not None and any(c.link is link for c in stream.cursors if c.viewer is None):
        worker.want_key_frame(stream)
