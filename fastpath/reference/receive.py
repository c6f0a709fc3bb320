"""Receiving: one datagram in, one verdict out.

Checks in a fixed order, each failure a counter that changes nothing else: length and version; known
peer; epoch; replay window; tag; not a replay; then, for an authentic packet only: route, hop limit,
size, stream. Nothing is ever sent back for a packet that fails.
"""

from fastpath.events import (
    ControlReceived,
    HelloReceived,
    LinkKeyed,
    LinkMoved,
    LinkUp,
    UpstreamFlows,
)
from fastpath.reference.arrivals_report import note_arrival
from fastpath.reference.feedback import receive_feedback
from fastpath.reference.insert import hold_early, insert_media
from fastpath.reference.link import Address, Link
from fastpath.reference.repair import (
    first_request_us,
    on_repair_received,
    receive_probe,
)
from fastpath.reference.ring import Packet
from fastpath.reference.shed import forgive_unchecked, shed_unchecked
from fastpath.reference.wire import (
    MAX_OVERLAY_BYTES,
    MAX_RTP_BYTES,
    SMALLEST_RTP_BYTES,
    TAG_BYTES,
    Flag,
    Header,
    PacketType,
    parse,
    tag,
)
from fastpath.reference.worker import Early, Worker

MAX_MESSAGE_BYTES = 1400
HELLO_COST_US = 50_000  # 20 authentic HELLOs a second and link, in bursts of 10
HELLO_BURST_US = 500_000
STRANGER_COST_US = 10_000  # 100 a second from unknown addresses in all
STRANGER_BURST_US = 200_000
CANDIDATE_US = 2_000_000  # a handshake over the longest path takes two HELLOs


def receive_overlay(
    worker: Worker, port: int, source: Address, datagram: bytes, now_us: int
) -> str:
    """The datagram's verdict."""
    if not datagram:
        return "truncated"
    if len(datagram) > MAX_OVERLAY_BYTES:
        return "oversized"
    header = parse(datagram)
    if isinstance(header, str):
        return header
    if header.type == PacketType.MEDIA:
        shed = shed_unchecked(worker, header.traffic_class)
        if shed is not None:
            return shed
    payload = datagram[header.header_bytes + TAG_BYTES :]
    link = worker.find_peer(port, source, now_us)
    if link is None and header.type == PacketType.HELLO:
        return _receive_strange_hello(worker, port, source, header, datagram, payload, now_us)
    if link is None:
        return "unknown_peer"
    if header.type == PacketType.HELLO:
        return _receive_hello(worker, link, header, datagram, payload, now_us)
    number = _authenticate(worker, link, header, datagram, now_us)
    if isinstance(number, str):
        return number
    forgive_unchecked(worker, link, number)
    link.accept(number, now_us, first_request_us(worker, now_us))
    if link.tells_arrivals:
        note_arrival(link, number, header.type, worker.arrived_us, now_us)
    link.received_packets += 1
    link.received_bytes += len(datagram)
    link.last_received_us = now_us
    if source != link.peer:
        _move_link(worker, link, source)
        if link.pacer is not None:
            link.pacer.on_route_change(link, now_us)
    if not link.is_up:
        link.is_up = True
        if link.pacer is not None:
            link.pacer.on_route_change(link, now_us)
        worker.post(LinkUp(link.handle))
    # Its arrival may have opened a hole, whose first request is a deadline.
    worker.mark_ready(link)
    if header.type == PacketType.MEDIA:
        return _receive_media(worker, link, header, payload, now_us)
    if header.type == PacketType.FEEDBACK:
        return receive_feedback(worker, link, payload, now_us)
    if header.type == PacketType.PROBE:
        return receive_probe(link, payload, worker.arrived_us)
    if header.type == PacketType.CONTROL:
        if len(payload) > MAX_MESSAGE_BYTES:
            return "oversized"
        worker.post(ControlReceived(link.handle, payload))
        return "control_taken"
    return "padding_taken" if header.type == PacketType.PADDING else "unknown_type"


def _tag_fits(worker: Worker, header: Header, datagram: bytes, key: bytes, number: int) -> bool:
    end = header.header_bytes
    payload = datagram[end + TAG_BYTES :]
    found = datagram[end : end + TAG_BYTES]
    return found == tag(datagram[:end], payload, key, number, worker.digest)


def _receive_hello(
    worker: Worker, link: Link, header: Header, datagram: bytes, payload: bytes, now_us: int
) -> str:
    """Under the adjacency's own key, outside numbers and windows: it may be a replay."""
    if not _tag_fits(worker, header, datagram, link.hello_key, 0):
        return "bad_tag"
    link.hello_tokens_us = max(link.hello_tokens_us, now_us - HELLO_BURST_US)
    if link.hello_tokens_us + HELLO_COST_US > now_us:
        return "hello_rate_limited"
    link.hello_tokens_us += HELLO_COST_US
    if len(payload) > MAX_MESSAGE_BYTES:
        return "oversized"
    worker.post(HelloReceived(link.handle, payload))
    return "hello_taken"


def _receive_strange_hello(
    worker: Worker,
    port: int,
    source: Address,
    header: Header,
    datagram: bytes,
    payload: bytes,
    now_us: int,
) -> str:
    """A neighbour may have come back with another address. It is answered there, and its link moves
    once a packet from there verifies; till then a replayed HELLO has changed nothing."""
    worker.stranger_tokens_us = max(worker.stranger_tokens_us, now_us - STRANGER_BURST_US)
    if worker.stranger_tokens_us + STRANGER_COST_US > now_us:
        return "stranger_rate_limited"
    worker.stranger_tokens_us += STRANGER_COST_US
    named = [k for k in worker.links if (k.port, k.peer_node) == (port, header.stream_id)]
    if not named:
        return "unknown_peer"
    verdict = _receive_hello(worker, named[0], header, datagram, payload, now_us)
    if verdict == "hello_taken":
        named[0].candidate, named[0].candidate_until_us = source, now_us + CANDIDATE_US
    return verdict


def _move_link(worker: Worker, link: Link, source: Address) -> None:
    """An authentic packet, no replay: where it came from is where the neighbour is."""
    link.peer, link.candidate = source, None
    worker.count("peer_moved")
    worker.post(LinkMoved(link.handle, source))


def _authenticate(
    worker: Worker, link: Link, header: Header, datagram: bytes, now_us: int
) -> int | str:
    """The extended hop_seq, or the verdict that refuses the packet."""
    if header.epoch != 0:
        return "wrong_epoch"
    verdict = "no_keys" if link.offered is None else "bad_tag"
    if link.keys is not None:
        number = link.extended(header.hop_seq)
        if link.is_before_window(number):
            verdict = "before_window"
        elif _tag_fits(worker, header, datagram, link.keys.receive, number):
            return "replayed" if link.was_seen(number) else number
        else:
            verdict = "bad_tag"
    # The first packets to arrive under new keys are near the number these begin at.
    first = link.peer_first_hop_seq
    number = first + ((header.hop_seq - first) & 0xFFFFFFFF)
    if link.offered is not None and _tag_fits(
        worker, header, datagram, link.offered.receive, number
    ):
        link.take_offered()
        if link.pacer is not None:
            link.pacer.on_route_change(link, now_us)
        worker.post(LinkKeyed(link.handle))
        return number
    return verdict


def _receive_media(worker: Worker, link: Link, header: Header, payload: bytes, now_us: int) -> str:
    if header.flags & Flag.REPAIR:
        on_repair_received(link, header.repairs_hop_seq)
    if header.count != 0:
        return "source_route_refused"
    if header.hop_limit == 0:
        return "hop_limit_reached"
    if len(payload) > MAX_RTP_BYTES:
        return "oversized"
    if len(payload) < SMALLEST_RTP_BYTES:
        return "malformed"
    packet = Packet(
        payload, header.delay, header.marks, header.flags, header.hop_limit, worker.arrived_us
    )
    stream = worker.find_stream(header.stream_id)
    if stream is None:
        return hold_early(worker, Early(header.stream_id, header.stream_seq, link, packet))
    if not stream.comes_from(link):
        return "wrong_upstream"
    if stream.awaited is link:
        stream.awaited = None
        known = stream.last_packet_us >= 0
        silent_us = worker.arrived_us - stream.last_packet_us if known else 0
        worker.post(UpstreamFlows(stream.handle, silent_us))
    return insert_media(worker, stream, header.stream_seq, packet, link, now_us)
