"""What a run of a scenario found: plain values, the same for virtual and real time.

A frame counts as intact only if it is whole and in time: complete before the time it was sent plus
the smallest delay of the viewer's path plus 300 ms (LiveNet, SIGCOMM 2022, 7.1). Frames of a
viewer's first 3 s, in which it catches up, need only be whole. Expected is every frame from the
first that came to the last that was sent while the viewer was there.
"""

from __future__ import annotations

from typing import Literal

import msgspec

IN_TIME_US = 300_000  # LiveNet 7.1
SETTLED_US = 10_000_000  # chosen: after it, a rate controller has begun, and probed
CATCHING_UP_US = 3_000_000  # after the first packet of a viewer


class Delay(msgspec.Struct, frozen=True, kw_only=True):
    """From the encoder's sending of a frame to its last packet at the viewer, ms."""

    p50: float | None = None
    p99: float | None = None


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Of a figure that was looked at about once a second."""

    least: float | None = None
    most: float | None = None
    last: float | None = None

    def with_value(self, value: float) -> Range:
        """One more, the last one."""
        if self.least is None or self.most is None:
            return Range(least=value, most=value, last=value)
        return Range(least=min(self.least, value), most=max(self.most, value), last=value)


class EventGap(msgspec.Struct, frozen=True, kw_only=True):
    """The longest silence of a viewer's video that an event began. event: its place in the file's
    order of time, from 0."""

    event: int
    gap_ms: float


class VersionChange(msgspec.Struct, frozen=True, kw_only=True):
    """A viewer saw another version of its broadcast from now on; 0 is the best one."""

    at_s: float
    version: int


class StreamChange(msgspec.Struct, frozen=True, kw_only=True):
    """A viewer goes on with another broadcast from now on."""

    at_s: float
    stream: str


class ViewerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One viewer, all its stays at nodes together."""

    name: str
    stream: str
    node: str
    """At the end, or when and where it left."""
    path: list[str]
    """From the producer to `node`, at the end or where it left."""
    joined_s: float | None
    left_s: float | None = None
    refused: str | None = None
    """Why the last answer of a node was no."""
    frames_expected: int = 0
    frames_intact: int = 0
    frames_late: int = 0
    """Whole, but not in time."""
    frames_damaged: int = 0
    """Some packets missing, or content not as it was sent."""
    frames_missing: int = 0
    """Not one packet of them came."""
    frames_undecodable: int = 0
    """Whole, but a frame that they need is not there whole; in real time, what a decoder made
    nothing of, if the viewer has one."""
    frames_duplicate: int = 0
    """Frames of which a packet came twice."""
    intact_ratio: float | None = None
    """Of those expected; None if none was."""
    packets: int = 0
    rate_bps: float | None = None
    """RTP that came, headers included, over its time; virtual time only."""
    packets_duplicate: int = 0
    packets_corrupt: int = 0
    rtx_packets: int = 0
    """Came again as RTX; in `packets` too."""
    rtx_repaired: int = 0
    """Of those: stood for a packet that had not come."""
    sequence_breaks: int = 0
    """RTP sequence numbers that are neither new in order, nor filled in later, nor missing."""
    version_frames: list[int] = []
    """Whole frames of each version of the broadcast, the best first."""
    version_changes: list[VersionChange] = []
    stream_changes: list[StreamChange] = []
    audio_packets: int = 0
    audio_missing: int = 0
    is_cache_hit: bool | None = None
    """Whether its node had the stream already when it last joined."""
    first_packet_ms: float | None = None
    """From joining, as are the next: of the first stay."""
    first_frame_ms: float | None = None
    longest_gap_ms: float | None = None
    """The longest time between two packets of video."""
    stalls: int | None = None
    """Silences of video longer than a frame and a player's buffer of 300 ms."""
    gaps: list[EventGap] = []
    delay_ms: Delay = Delay()
    target_bps: Range = Range()
    """What its node's rate controller gave, from 10 s after it joined on, if it tells when packets
    came."""
    least_delay_ms: float | None = None
    """Of the path: its links' one-way delays, or the smallest that was seen."""


class HopReport(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of one link, as its two nodes count it at the end."""

    sender: str
    receiver: str
    packets: int
    """Received, of all kinds."""
    lost: int = 0
    repaired: int = 0
    gone: int = 0
    given_up: int = 0
    loss: float = 0.0
    """Share of all that was sent."""
    rtt_ms: float | None = None
    delay_ms: float | None = None
    """One way, as emulated."""
    target_bps: Range = Range()
    """What the sender's rate controller gave, from 10 s on, if it has one."""

    @property
    def name(self) -> str:
        return f"{self.sender}>{self.receiver}"


class PathLoad(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of an access path. Queue: from coming to the bottleneck to having left it, ms;
    not of what was dropped there."""

    packets: int = 0
    lost: int = 0
    dropped: int = 0
    """At the bottleneck, or too large."""
    use: float | None = None
    """What passed the bottleneck, of what it could have sent in the scenario's time."""
    queue_ms: Delay = Delay()
    queue_ms_p95: float | None = None


class AccessReport(msgspec.Struct, frozen=True, kw_only=True):
    """One access path; forward is the direction of the media. name: of the first viewer behind it,
    or of the encoder's broadcast."""

    name: str
    forward: PathLoad
    back: PathLoad


class FlowReport(msgspec.Struct, frozen=True, kw_only=True):
    """One flow of [[flows]], at the receiver."""

    name: str
    sent: int = 0
    """Segments, those that are sent again each time."""
    delivered: int = 0
    loss: float = 0.0
    """Share of the segments sent that never arrived, those under way at the end included."""
    rate_bps: float = 0.0
    """Of UDP payload that arrived, over its time."""
    transfers: int = 0
    """Whole ones, of short TCP."""


class QoeReport(msgspec.Struct, frozen=True, kw_only=True):
    """In LiveNet's terms (SIGCOMM 2022, 6.1), of all viewers; `lab.scenario.qoe`. None: not known.
    Delays are medians."""

    views: int = 0
    zero_stall_ratio: float | None = None
    fast_start_up_ratio: float | None = None
    """Of those whose first whole key frame came within 1 s."""
    first_packet_ms: float | None = None
    cdn_path_delay_ms: float | None = None
    """By the headers' delay field, as the viewers' nodes read it; virtual time only."""
    streaming_delay_ms: float | None = None
    """To the whole frame, and a player's buffer of 300 ms."""
    covered_by_other_path: int = 0
    """Packets that premium viewers' nodes got by the second path alone, or long before the first
    one repaired them; virtual time only."""


class BrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller did, over all its lives."""

    term: int = 0
    starts: int = 0
    path_requests: int = 0
    """Requests of nodes for paths that arrived."""
    lookups: int = 0
    """Path decisions that were computed for them: requests for one stream and node coalesce."""
    tables_pushed: int = 0
    tables_refused: int = 0
    rehome_advices: int = 0


class EventReport(msgspec.Struct, frozen=True, kw_only=True):
    """What followed an event, until the next one."""

    at_s: float
    do: str
    what: str
    """In words: "cut london - tokyo"."""
    viewers_with_gap: int = 0
    """Whose video was silent for more than 100 ms longer than a frame lasts."""
    longest_gap_ms: float | None = None
    switches: list[str] = []
    """What nodes told of changed upstreams, in order."""


class ExpectationReport(msgspec.Struct, frozen=True, kw_only=True):
    """One line of [expect]. figure: None if there was nothing to measure, which fails."""

    name: str
    bound: str
    figure: float | None
    matches: int
    held: bool


class ScenarioReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    name: str
    mode: Literal["virtual", "real_time"]
    seed: int
    duration_s: float
    viewers: list[ViewerReport]
    hops: list[HopReport]
    access: list[AccessReport] = []
    """In virtual time only, as is the next."""
    flows: list[FlowReport] = []
    qoe: QoeReport = QoeReport()
    brain: BrainReport | None = None
    events: list[EventReport] = []
    trace_digest: str | None = None
    """Of every datagram that a node was given and when; virtual time only."""
    datagrams: int = 0
    expectations: list[ExpectationReport] = []

    @property
    def is_as_expected(self) -> bool:
        return all(expectation.held for expectation in self.expectations)
