"""The native engine: one worker, its rings, cursors and links.

Every `add_...`, `remove_...` and `set_...` puts one command into the worker's mailbox; the worker
applies it between two batches, in order. Handles that `add_...` return are never reused.
A handle that is not in use raises KeyError.
Times are integer microseconds of one monotonic clock; rates are bit/s on the wire (UDP payload).
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Literal, TypeAlias, final

from fastpath.events import Event
from fastpath.handles import Chains as Chains
from fastpath.handles import EngineFullError as EngineFullError
from fastpath.handles import HandleTable as HandleTable
from fastpath.rate import RateConfig, RateKind
from fastpath.stats import CursorStats, DelayHistogram, LinkStats, MemoryStats, OverloadStats, StreamStats

Address: TypeAlias = tuple[str, int]
Datagram: TypeAlias = tuple[int, Address, bytes | memoryview]  # port handle, source, payload
Transmit: TypeAlias = tuple[int, Address, bytes]  # port handle, destination, payload

class PortKind(IntEnum):
    OVERLAY = 0
    INGEST = 1
    VIEWER = 2
    INGEST_RTCP = 3

class Media(IntEnum):
    AUDIO = 1
    VIDEO = 2

class Codec(IntEnum):
    OPUS = 1
    H264 = 2
    VP8 = 3
    H265 = 4
    VP9 = 5
    AV1 = 6

@final
class Engine:
    def __new__(
        cls,
        *,
        node_id: int = 0,
        streams: int = 1024,
        cursors: int = 8192,
        node_links: int = 64,
        viewer_links: int = 1024,
        ports: int = 256,
        slab_bytes: int = 134217728,
        repair: bool = True,
        repair_scan_us: int = 50000,
        repair_early: bool = True,
        reorder_us: int = 20000,
        repair_deadline_us: int = 300000,
        probe_interval_us: int = 50000,
        use_gro: bool = True,
        use_gso: bool = True,
        huge_pages: bool = True,
        shed_age_us: int = 5000,
        spin_us: int = 0,
        use_timerfd: bool = True,
        max_lag_us: int = 500000,
        max_lag_bytes: int = 524288,
        gop_cache: bool = True,
        start_at_gop: bool = False,
    ) -> Engine:
        """max_lag_us, max_lag_bytes: what may wait for a viewer's link before frames are left out
        (fastpath/drop); 0 us: nothing is, until the ring laps the viewer. gop_cache: who comes
        begins at the newest complete key frame, or with start_at_gop at the one before; without,
        at the next one that comes, and nodes at the head. reorder_us: the longest that a packet
        may be only late. repair_deadline_us: of streams that say no other (`add_stream`).
        shed_age_us: media is shed while packets wait longer than this (fastpath/overload); 0:
        never. spin_us: how long the worker stays awake for packets that come that soon, at most;
        0: it sleeps. use_timerfd: deadlines are kept in a timer, not given to each sleep."""

    # -- ports: a UDP socket each (an `fd` that the worker owns from then on), or -1 in virtual time
    def open_port(self, kind: PortKind, fd: int = -1, *, rtp_port: int | None = None) -> int:
        """rtp_port: of an INGEST_RTCP port, the INGEST port whose encoders report there (they may
        also report on the RTP port itself, RFC 5761)."""
    def close_port(self, port: int) -> None: ...

    # -- links between nodes
    def add_link(
        self,
        *,
        port: int,
        address: Address,
        peer_node: int,
        hello_key: bytes,
        rate_bps: int,
        rate_kind: RateKind | None = None,
        rate: RateConfig | None = None,
    ) -> int:
        """hello_key: 16 bytes. The link carries HELLO only until keys are offered and verified.
        rate_kind, rate: its controller, to which rate_bps is the ceiling whatever rate.max_bps
        says (max_bps, streams and is_node_link are set here); None: it is paced at rate_bps."""
    def offer_keys(
        self,
        link: int,
        *,
        receive_key: bytes,
        send_key: bytes,
        send_now: bool,
        first_hop_seq: int = 1,
        peer_first_hop_seq: int = 1,
    ) -> None:
        """Two 16-byte keys. They replace the current ones when a packet verifies under
        `receive_key` (LinkKeyed); `send_now` and no current keys: sending uses them at once.
        Fresh keys begin at hop_seq 1. Keys that another engine has used go on at the numbers after
        its last, ours and the peer's; older ones are replays."""
    def send_hello(self, link: int, payload: bytes) -> None: ...
    def send_control(self, link: int, payload: bytes) -> None:
        """Dropped and counted (`control_unsent`) while the link has no keys. At most 1,400 bytes."""
    def set_link_rate(self, link: int, rate_bps: int, start_bps: int = 0) -> None:
        """Its ceiling. start_bps: where its controller begins on another path; 0: where it did."""
    def set_needed_bps(self, link: int, bps: int) -> None:
        """What there would be to send on it, were there room; 0: as much as there is. GCC probes
        for it. Nothing to a link of a fixed rate."""
    def remove_link(self, link: int) -> None:
        """Of a node or a viewer; its cursors go with it."""

    # -- streams
    def add_stream(
        self,
        *,
        stream_id: int,
        media: Media,
        first_stream_seq: int,
        upstream: int | None,
        clock_rate: int = 90000,
        group: int = 0,
        deadline_us: int = 0,
    ) -> int:
        """upstream: the link it comes from, or None for an ingest. Packets that came early (up to
        1 s, a bounded number) are taken in at once. clock_rate: of its RTP time, Hz. group: equal
        for the tracks of one broadcast, whose sender reports are kept in step; 0: it is alone.
        deadline_us: a packet that comes so much later than those that follow it is of no use, and
        is neither asked for nor sent again any longer (1 ms to 60 s); 0: as the engine's."""
    def set_ingest(
        self,
        port: int,
        *,
        stream: int,
        codec: Codec,
        payload_type: int,
        parameter_sets: bytes = b"",
        rtcp_to: Address | None = None,
        nack: bool = False,
        rtx_payload_type: int = 0,
        transport_cc_id: int = 0,
        dependency_id: int = 0,
    ) -> None:
        """RTP of this payload type on this port is the stream's; at most four types a port.
        parameter_sets: one payload with all of them (at most 512 bytes), put before each key frame
        that has no SPS of its own. rtcp_to: where RTCP to the encoder goes, if not back to where
        its own came from. nack: the encoder is asked again for packets that do not come. It may
        send them as they were, or as RTX (RFC 4588) of rtx_payload_type; 0: there is none.
        transport_cc_id: of the header extension that numbers its packets across the port's tracks
        (0: none does): it is told which of them arrive when. dependency_id: of the header extension
        with dependency descriptors, 0: none."""
    def set_upstream(
        self, stream: int, upstream: int | None, *, second: int | None = None
    ) -> None:
        """The link that may deliver it. second: another one that may as well, while it takes over;
        requests and reports concern the first alone. A link that is new to the stream is answered
        by UpstreamFlows once it delivers."""
    def remove_stream(self, stream: int) -> None:
        """Its cursors go with it."""

    # -- subscribers
    def add_cursor(self, *, stream: int, link: int, start_seq: int | None = None) -> int:
        """A node's subscription. Starts at `start_seq` if the ring still holds that place or is about
        to reach it (else counted as `start_not_held`); at the newest complete key frame (audio:
        live); on a ring still empty, at its first packet. Answered by CursorStarted."""
    def mark_copy(self, cursor: int, is_copy: bool) -> None:
        """Of a node's: whether the stream comes to it by another path as well, which the header's
        duplicate flag tells of each packet."""
    def add_viewer_link(
        self,
        *,
        rate_bps: int,
        cname: bytes = b"overlane-viewer0",
        rate_kind: RateKind | None = None,
        rate: RateConfig | None = None,
    ) -> int:
        """cname: 16 bytes, in the sender reports of all its cursors (RFC 3550 6.5.1)."""
    def add_viewer_cursor(
        self,
        *,
        stream: int,
        link: int,
        port: int,
        address: Address,
        ssrc: int,
        payload_type: int,
        first_sequence_number: int,
        rtcp_address: Address | None = None,
        rtx_payload_type: int = 0,
        rtx_ssrc: int = 0,
        rtx_first_sequence_number: int = 0,
        transport_cc_id: int = 0,
        delay_id: int = 0,
    ) -> int:
        """Plain RTP to `address` from VIEWER port `port`. Waits for a key frame if none is held.
        rtcp_address: where sender reports go, each second; None: nowhere. RTCP from any port of
        the viewer's host is heard. rtx_payload_type: what it asks for again goes as RTX (RFC 4588)
        of this type and `rtx_ssrc`; 0, or the media's own type: under its first number.
        transport_cc_id, delay_id: of header extensions that it wants (fastpath/rtp_extension), 1 to
        14; 0: none. Transport numbers need a link with a controller that hears of packets."""
    def move_viewer_cursor(self, cursor: int, *, stream: int, payload_type: int) -> None:
        """To another stream of the same medium and clock rate (else ValueError). SSRC, sequence
        numbers and RTP time go on. A node's cursor raises KeyError."""
    def switch_viewer_cursor(self, cursor: int, *, stream: int, payload_type: int) -> None:
        """The same, as soon as nobody can see it: after a frame, at a key frame of the other stream
        newer than this one and whole. ViewerSwitched says when. Until then the cursor follows
        the stream it did; it belongs to the other one already, and goes with that."""
    def remove_cursor(self, cursor: int) -> None: ...

    # -- what comes back
    def events(self) -> list[Event]: ...
    @property
    def event_fd(self) -> int:
        """Readable when events wait."""

    # -- running: either a thread that calls run() until stop(), or turns in virtual time
    def run(self) -> None:
        """The worker's loop, without the GIL, until stop(). Call it in a thread of its own."""
    @property
    def is_running(self) -> bool:
        """run() takes commands now."""
    def stop(self) -> None: ...
    def turn(
        self,
        now_us: int,
        datagrams: Sequence[Datagram] = (),
        *,
        arrived_us: int | None = None,
        spent_us: int = 0,
    ) -> list[Transmit]:
        """arrived_us: when these datagrams came, if they had to wait. spent_us: what the turn before
        took a worker of limited speed."""
    def next_timer_us(self) -> int | None: ...

    # -- counters
    def verdicts(self) -> dict[str, int]:
        """Packets by what became of them, one name each; and the other named counters."""
    def batch_sizes(self) -> list[int]:
        """System calls that sent 1, 2, 3 to 4, 5 to 8, ... 33 to 64 packets."""
    def link_stats(self, link: int) -> LinkStats: ...
    def stream_stats(self, stream: int) -> StreamStats: ...
    def cursor_stats(self, cursor: int) -> CursorStats: ...
    def used(self, table: Literal["streams", "cursors", "viewer_links"]) -> int:
        """Of `memory`, how many of these are in use: asked for each one that is added."""
    def memory(self) -> MemoryStats: ...
    def delays(self, link: int | None = None) -> DelayHistogram:
        """How long media stayed in this worker on its way to a neighbour, or (None) to all viewers:
        from the kernel's receive time to the making of its batch. What a subscriber gets from the
        past when it comes, and what is sent again, is left out."""
    def overload(self) -> OverloadStats: ...
    def fallbacks(self) -> list[str]:
        """Features switched off or refused by the kernel: gro, gso, timestamps, huge_pages."""
