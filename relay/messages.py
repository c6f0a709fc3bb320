"""What nodes say to each other about streams: msgpack maps in the overlay's control packets.

Each message is idempotent and repeats by itself: SUBSCRIBE until it is answered and then as a
refresh, so nothing here needs acknowledging. A broadcast is subscribed to as a whole; OK lists its
tracks. Loops are seen twice: SUBSCRIBE names the nodes behind and before it, OK those it came from.
Nodes with several workers tell each other their ports first (WorkerPorts), and then in SUBSCRIBE
and OK which two workers a broadcast goes between; what they add is left out at a node with one.
Source: LiveNet (SIGCOMM 2022) 5 for the reverse-path subscription and the cache hit.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from relay.errors import MessageError, RefusalCode

MAX_MESSAGE_BYTES = 1400  # what the engine carries in one control packet
MAX_ANCESTORS = 7  # a path of eight nodes: the hop limit of Stream-FIB legs
MAX_WORKERS = 64  # of a node: as many ports fit one message
MAX_VERSIONS = 8  # chosen: what simulcast encoders send, and as much again
MAX_TRACKS = 8  # chosen: video, audio, and room for more of either

# \Z, as $ would let a line feed stand at the end.
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+\Z")]
Names: TypeAlias = Annotated[tuple[Name, ...], Meta(max_length=MAX_ANCESTORS)]
U32: TypeAlias = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
StreamId: TypeAlias = Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
StreamIds: TypeAlias = Annotated[tuple[StreamId, ...], Meta(min_length=1, max_length=MAX_TRACKS)]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65_535)]
Worker: TypeAlias = Annotated[int, Meta(ge=0, lt=MAX_WORKERS)]
Media: TypeAlias = Literal["video", "audio"]


class _Struct(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Track(_Struct, frozen=True):
    """A stream's descriptor, and the packet number that its ring starts with. version: of a video
    that is there at several bitrates_bps, the best first; each further version is a broadcast of
    its own (`version_name`), so that a node subscribes to those it needs."""

    stream_id: StreamId
    media: Media
    codec: Literal["H264", "H265", "VP8", "VP9", "AV1", "opus"]
    payload_type: Annotated[int, Meta(ge=0, le=127)]
    clock_rate: Annotated[int, Meta(ge=1, le=1_000_000)]
    first_stream_seq: U32
    fmtp: Annotated[str, Meta(max_length=400)] = ""
    version: Annotated[int, Meta(ge=0, lt=MAX_VERSIONS)] = 0
    bitrates_bps: Annotated[tuple[U32, ...], Meta(max_length=MAX_VERSIONS)] = ()


class Subscribe(_Struct, frozen=True, tag="subscribe"):
    """Send me this broadcast. The same transaction again is a retry or a refresh.

    path: nodes still to visit after the receiver, the producer last. visited: those before it,
    the first asker first and the sender last. mode "standby": be ready to, but send no media yet;
    "duplicate": send it, to one who gets it from elsewhere too; the same transaction may go on to
    "duplicate" and to "active", and never back. starts, with start
    "seq": by stream id, the first packet that the asker lacks. worker: the asker's, to send to.
    source, generation: the worker that OK named, and of the link between the two as the asker has
    it, 0 while it has none (see Ok).
    """

    transaction: U32
    broadcast: Name
    path: Names
    visited: Names
    start: Literal["live", "gop", "seq"] = "live"
    mode: Literal["active", "standby", "duplicate"] = "active"
    starts: Annotated[dict[StreamId, U32], Meta(max_length=MAX_TRACKS)] = {}
    worker: Worker = 0
    source: Worker = 0
    generation: U32 = 0


class Ok(_Struct, frozen=True, tag="ok"):
    """It is on its way, or changed: other stream ids replace those of an earlier OK.

    ancestors: where it comes from, the producer first and the sender last; their number is the
    sender's depth. state: "lost" while the sender itself waits for its upstream. To a standby, a
    track's first_stream_seq says nothing. worker: the sender's, that media comes from. to: the
    asker's, that it goes to; 0 also from nodes that know of no workers. generation: of the link
    between the two; the higher of the two that both sides name holds. 0: the nodes' first link.
    """

    transaction: U32
    broadcast: Name
    tracks: Annotated[tuple[Track, ...], Meta(min_length=1, max_length=MAX_TRACKS)]
    ancestors: Names
    state: Literal["live", "lost"] = "live"
    worker: Worker = 0
    to: Worker = 0
    generation: U32 = 0


class Error(_Struct, frozen=True, tag="error"):
    """It is not on its way, or no longer. text: one line."""

    transaction: U32
    broadcast: Name
    code: RefusalCode
    text: Annotated[str, Meta(max_length=200)] = ""


class Unsubscribe(_Struct, frozen=True, tag="unsubscribe"):
    """No longer wanted. Another transaction's subscription stays."""

    transaction: U32
    broadcast: Name


class UpstreamLost(_Struct, frozen=True, tag="upstream_lost"):
    """The sender gets no more of these for now; OK follows when it does."""

    stream_ids: StreamIds


class End(_Struct, frozen=True, tag="end"):
    """These streams are over."""

    stream_ids: StreamIds


class WorkerPorts(_Struct, frozen=True, tag="workers"):
    """The ports that the sender's workers are reached at, in order; at its address as the receiver
    knows it. Said by a node with several when keys are new, and in answer to one that has not
    `heard` the sender's. is_blocked: nothing comes between further workers; in this session all is
    to go between the first ones."""

    ports: Annotated[tuple[Port, ...], Meta(min_length=1, max_length=MAX_WORKERS)]
    heard: bool = False
    is_blocked: bool = False


Message: TypeAlias = Subscribe | Ok | Error | Unsubscribe | UpstreamLost | End | WorkerPorts

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def version_name(broadcast: str, version: int) -> str:
    """How a version of a broadcast is subscribed to; the best by the broadcast's own name."""
    return f"{broadcast}.{version}" if version else broadcast


def is_version_of(name: str, broadcast: str) -> bool:
    """Whether it may be one, the best included: another broadcast may be named as a version is."""
    return name == broadcast or name.rpartition(".")[0] == broadcast


def is_name(text: str) -> bool:
    """Whether messages can name a broadcast so."""
    try:
        msgspec.convert(text, Name)
    except msgspec.ValidationError:
        return False
    return True


def encode(message: Message) -> bytes:
    """The payload of a control packet. Raises MessageError if it is larger than one carries."""
    data = _encoder.encode(message)
    if len(data) > MAX_MESSAGE_BYTES:
        kind = type(message).__name__
        raise MessageError(f"{kind} takes {len(data)} bytes, {MAX_MESSAGE_BYTES} fit")
    return data


def decode(data: bytes) -> Message:
    """Raises MessageError for anything that is not exactly one valid message."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(str(error)) from None
