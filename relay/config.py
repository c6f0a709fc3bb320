"""What a node is told at start: frozen models, one per part; `config_file.load` reads them.

Unknown keys are errors, and all problems are reported at once: what is malformed by itself, and
what contradicts itself (`config_checks`) among the parts that are well formed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from relay.config_checks import MAX_PORT, Parts, cross_check
from relay.cores import usable_cores
from relay.messages import MAX_VERSIONS, version_name
from rtp.errors import RtpParseError
from rtp.payload.parameter_sets import SET_PARAMETERS, payload_of_sets, unsupported_mode
from rtp.sdp import PayloadFormat
from service.address import Address, parse_address
from service.config_model import (
    AddressText,
    HostText,
    Log,
    Model,
    ReachableAddress,
    problems_of,
)
from service.errors import ConfigError

T = TypeVar("T")

SECRET_BYTES = 32  # chosen: as long as the HMAC-SHA256 key that it becomes (RFC 5869 2.2)
MAX_NODE_NAME = 32  # chosen, with the next three, so that every control message fits 1,400 bytes
MAX_STREAM_NAME = 64
MAX_FMTP = 400  # room for the parameter sets of H.264 and H.265 in base64
MAX_PARAMETER_SETS = 512  # what the engine keeps of a track; usual ones take 40 to 100 bytes
MAX_PATH_NODES = 8  # the hop limit of Stream-FIB legs
MIN_LAG_US = 50_000  # chosen: a frame or two
MAX_WORKERS = 64  # chosen: the cores of a large host; as many ports fit one message
CORES_WITHOUT_PYTHON = 2  # chosen: "auto" leaves a core to Python where there are more


def _secret_hex(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]*", text) or len(text) != 2 * SECRET_BYTES:
        raise ValueError(
            f"must be {2 * SECRET_BYTES} hex digits ({SECRET_BYTES} bytes); "
            "make one with: openssl rand -hex 32"
        )
    return text.lower()


def _not_like_rtcp(payload_type: int) -> int:
    if 64 <= payload_type <= 95:
        raise ValueError("64 to 95 look like RTCP on the same port (RFC 5761 4); use 96 to 127")
    return payload_type


SecretText = Annotated[str, AfterValidator(_secret_hex)]
NodeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=MAX_NODE_NAME)]
StreamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=MAX_STREAM_NAME)]
StreamPattern = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9._-]+)$", max_length=MAX_STREAM_NAME)]
PayloadType = Annotated[int, Field(ge=0, le=127), AfterValidator(_not_like_rtcp)]
NodeId = Annotated[int, Field(ge=1, le=65535)]
WorkerCount = Annotated[int, Field(ge=1, le=MAX_WORKERS)]
Workers = Literal["auto"] | WorkerCount
CpuNumber = Annotated[int, Field(ge=0, le=65535)]
DeadlineUs = Annotated[int, Field(ge=20_000, le=60_000_000)]
RateBps = Annotated[int, Field(ge=100_000, le=100_000_000_000)]


def is_stream_name(text: str) -> bool:
    """Whether a stream can be called so."""
    return len(text) <= MAX_STREAM_NAME and re.fullmatch(r"[A-Za-z0-9._-]+", text) is not None


class Admin(Model):
    """The HTTP side: health, metrics, status, viewers."""

    listen: AddressText = "127.0.0.1:8080"
    """Chosen: loopback, because whoever reaches it may add viewers. Port 0 draws one."""
    viewer_wait_s: float = Field(default=5.0, gt=0, le=60)
    """How long a POST waits for its stream. Chosen: above the 4.5 s after which asking gives up."""


class Viewers(Model):
    """The plain-RTP edge."""

    listen: AddressText = "0.0.0.0:0"
    """The socket all viewers are served from; its address is the source they see. Port 0 draws one:
    nothing is expected there but reports."""
    rate_bps: RateBps = 20_000_000
    """Pacing of one viewer. Chosen: a 4K stream, and a fast start at several times a 1080p one."""
    expiry_s: float = Field(default=15.0, ge=1, le=3600)
    """A viewer not refreshed for so long is removed, unless its request says otherwise. Three
    refreshes of the test player."""
    premium_streams: tuple[StreamName, ...] = ()
    """Broadcasts all of whose viewers here are premium: what one path loses is taken from another,
    which costs this node twice the traffic of the broadcast. A request may say so of one viewer."""
    allow_multicast: bool = False
    """Whether a viewer may be a multicast group. Off: one request would reach many hosts."""


class Controller(Model):
    """The brain, which tells this node its neighbours and the paths to broadcasts."""

    url: str = Field(min_length=1, max_length=500)
    """wss://HOST:PORT/control. ws:// is for loopback alone, with `allow_plain_text`."""
    token: str | None = Field(default=None, repr=False)
    """What this node proves its name with; the brain keeps its hash."""
    token_file: Path | None = None
    """Or a file that holds it, relative to the configuration file, as are the next four."""
    ca_file: Path | None = None
    """Authorities that the brain's certificate may be signed by, in PEM. None: the system's."""
    certificate_file: Path | None = None
    """This node's own certificate, for a brain that asks for one."""
    key_file: Path | None = None
    table_file: Path | None = None
    """Where the last good table is kept; with secrets, so for the node's eyes only. `load` puts
    NAME.table beside the configuration file in place of None."""
    allow_plain_text: bool = False

    @property
    def is_plain_text(self) -> bool:
        """Whoever shares the host can read and change what is said."""
        return not self.url.lower().startswith("wss:")


class Neighbour(Model):
    """A node that this one has a link with."""

    name: NodeName
    node_id: NodeId
    address: ReachableAddress
    """Where its overlay socket is reached."""
    secret: SecretText | None = Field(default=None, repr=False)
    """The adjacency secret, the same on both sides: 32 bytes in hex."""
    secret_file: Path | None = None
    """Or a file that holds it, relative to the configuration file."""
    rate_bps: RateBps = 100_000_000
    """Pacing of the link. Chosen: what the smallest hosts' uplinks carry, ten 1080p streams; set it
    to the path's capacity, since nothing measures that yet."""

    @cached_property
    def endpoint(self) -> Address:
        """`address` as the engine takes it."""
        return parse_address(self.address)

    @cached_property
    def secret_bytes(self) -> bytes:
        """The secret; `load` has replaced `secret_file` by its content."""
        assert self.secret is not None
        return bytes.fromhex(self.secret)


class Track(Model):
    """One track of an ingest: what the encoder sends, and where to."""

    kind: Literal["video", "audio"]
    codec: Literal["H264", "H265", "VP8", "VP9", "AV1", "opus"]
    listen: AddressText
    """UDP socket for its RTP. Tracks may share one if their payload types differ."""
    rtcp: Literal["next", "mux"] = "next"
    """Where the encoder sends its reports: to the port after `listen` (RFC 3550 11), or to `listen`
    itself (RFC 5761), where they are heard in any case."""
    rtcp_to: ReachableAddress | None = None
    """Where RTCP to the encoder goes, if not back to where its own comes from."""
    transport_cc_id: int = Field(default=0, ge=0, le=14)
    """The id of the RTP header extension in which the encoder numbers its packets across tracks
    that share one socket; it is then told which arrive when, for its rate control. 0: none."""
    payload_type: PayloadType
    nack: bool = False
    """Whether the encoder is asked again for packets that do not come (RFC 4585 6.2.1). Off: most
    that send plain RTP, ffmpeg among them, keep nothing to send again."""
    rtx_payload_type: PayloadType | None = None
    """In which it sends them, if that is RTX (RFC 4588), on the same socket."""
    clock_rate: int = Field(ge=8000, le=192_000)
    """90,000 for video of any codec, 48,000 for Opus (RFC 7587 7)."""
    fmtp: str = Field(default="", max_length=MAX_FMTP, pattern=r"^[\x20-\x7e]*$")
    """The SDP's format parameters, handed to viewers as they are. Those of H.264 and H.265 may hold
    parameter sets (sprop-parameter-sets, RFC 6184 8.1; sprop-vps, -sps and -pps, RFC 7798 7.1) that
    the encoder does not send."""
    dependency_id: int = Field(default=0, ge=0, le=255)
    """Of the RTP header extension in which the encoder tells how frames depend on each other (RTP
    Payload Format For AV1, appendix A); with 0 their own headers tell it."""
    version: int = Field(default=0, ge=0, lt=MAX_VERSIONS)
    """Of a video that is sent at several bitrates: 0 is the best."""
    bitrate_bps: int | None = Field(default=None, ge=1_000, le=4_000_000_000)
    """What the encoder sends of it; needed of each version where there are several."""

    @cached_property
    def endpoint(self) -> Address:
        """`listen` as a socket takes it."""
        return parse_address(self.listen)

    @cached_property
    def rtcp_endpoint(self) -> Address | None:
        """The socket for the encoder's reports; None if they come with its RTP."""
        host, port = self.endpoint
        return (host, port + 1) if self.rtcp == "next" else None

    @cached_property
    def parameter_sets(self) -> bytes:
        """One RTP payload with the parameter sets of `fmtp`; empty if it has none."""
        return payload_of_sets(self.codec, self._parameters)

    @property
    def _parameters(self) -> dict[str, str]:
        format_ = PayloadFormat(self.payload_type, self.codec, self.clock_rate, fmtp=self.fmtp)
        return format_.parameters

    @field_validator("listen")
    @classmethod
    def _has_room_for_rtcp(cls, listen: str) -> str:
        if parse_address(listen)[1] == MAX_PORT:
            raise ValueError(f"port {MAX_PORT} leaves none after it for RTCP")
        return listen

    @model_validator(mode="after")
    def _check_parameter_sets(self) -> Self:
        if reason := unsupported_mode(self.codec, self._parameters):
            raise ValueError(f"fmtp: {reason}")
        try:
            size = len(self.parameter_sets)
        except RtpParseError:
            names = " or ".join(SET_PARAMETERS[self.codec])
            sets = "VPS, SPS and PPS" if self.codec == "H265" else "SPS and PPS"
            raise ValueError(f"fmtp: {names} is not base64 of {sets}") from None
        if size > MAX_PARAMETER_SETS:
            raise ValueError(f"fmtp: parameter sets take {size} bytes, {MAX_PARAMETER_SETS} fit")
        return self


@dataclass(frozen=True, slots=True)
class Produced:
    """One version of an ingest, as it is subscribed to. bitrates_bps: of all versions of its video,
    the best first; empty if there is one."""

    name: str
    tracks: tuple[Track, ...]
    bitrates_bps: tuple[int, ...]


class Ingest(Model):
    """A broadcast that starts at this node. Several video tracks are versions of one picture."""

    name: StreamName
    sdp_file: Path | None = None
    """The encoder's session description, relative to the configuration file: the tracks are made of
    it, each listening on its port (`sdp_listen`)."""
    sdp_listen: HostText = "0.0.0.0"
    """The host part of their `listen`."""
    tracks: tuple[Track, ...] = Field(min_length=1)

    @cached_property
    def by_version(self) -> tuple[Produced, ...]:
        """Its best version with all else; then each further one, under a name of its own."""
        videos = sorted((t for t in self.tracks if t.kind == "video"), key=lambda t: t.version)
        bitrates = tuple(t.bitrate_bps or 0 for t in videos) if len(videos) > 1 else ()
        first = tuple(track for track in self.tracks if track.version == 0)
        others = [track for track in videos if track.version > 0]
        return (
            Produced(self.name, first, bitrates),
            *(Produced(version_name(self.name, t.version), (t,), bitrates) for t in others),
        )


class StreamPath(Model):
    """The way a subscription travels when a viewer here asks for a stream."""

    stream: StreamPattern
    """A stream's name, its further versions included, or "*" for all that no other path names."""
    via: tuple[NodeName, ...] = Field(min_length=1, max_length=MAX_PATH_NODES - 1)
    """Nodes in the order SUBSCRIBE visits them: a neighbour first, the producer last."""


class Limits(Model):
    """Sizes of everything laid out at start, of all workers together. Defaults: the engine's. What
    is not used takes no memory; what is takes about 15 KiB a stream, 0.5 KiB a cursor, 0.6 KiB a
    viewer and 522 KiB a node link, beside the slab."""

    streams: int = Field(default=1024, ge=1, le=1_000_000)
    cursors: int = Field(default=8192, ge=1, le=1_000_000)
    node_links: int = Field(default=64, ge=1, le=65_535)
    viewers: int = Field(default=1024, ge=1, le=524_288)
    ports: int = Field(default=256, ge=2, le=65_535)
    slab_mib: int = Field(default=128, ge=4, le=1_048_576)


class Repair(Model):
    """How lost packets between nodes are asked for again."""

    enabled: bool = True
    scan_interval_us: int = Field(default=50_000, ge=1_000, le=1_000_000)
    """LiveNet (SIGCOMM 2022) 5.1."""
    early: bool = True
    """Ask before the scan once reordering no longer explains a hole."""
    reorder_us: int = Field(default=20_000, ge=0, le=1_000_000)
    """The longest that a packet may be late before `early` calls it lost; usually it is less: a
    sixteenth of the round trip, or a little more than the link's packets were late lately. Chosen:
    what lies between two packets of audio."""
    deadline_us: DeadlineUs = 300_000
    """A packet that comes so much later than those that follow it is too late to be played, so it
    is no longer asked for or sent again. 300 ms: what LiveNet (7.1) allows before a stall."""
    deadlines_us: dict[StreamName, DeadlineUs] = Field(default_factory=dict)
    """The same by broadcast, for those whose players keep more, or less, in store."""


class Kernel(Model):
    """Socket features, to be switched off where a kernel or a driver is at fault."""

    use_gro: bool = True
    use_gso: bool = True
    huge_pages: bool = True
    spin_us: int = Field(default=0, ge=0, le=1_000)
    """How long the worker stays awake for the next packet, where packets come that closely: at most
    as long as falling asleep and waking up would take it (about 10). 0: it always sleeps."""


class Overload(Model):
    """What happens past the worker's rate."""

    shed_age_us: int = Field(default=5_000, ge=0, le=1_000_000)
    """Media is shed while packets wait longer than this before the worker takes them; 0: never.
    Below 1,000 only 0 is allowed. 5 ms: CoDel's target (RFC 8289 4.3)."""

    @field_validator("shed_age_us")
    @classmethod
    def _is_zero_or_more_than_a_turn(cls, shed_age_us: int) -> int:
        if 0 < shed_age_us < 1_000:
            raise ValueError("must be 0 or at least 1000")
        return shed_age_us


class ViewerRate(Model):
    """How fast viewers are sent to. The ceiling is `viewers.rate_bps`."""

    controller: Literal["gcc", "nada", "loss_only", "fixed"] = "gcc"
    """The best that is used. gcc and nada are for viewers that return transport-wide feedback; of
    the others, those that send receiver reports get loss_only, from the ceiling down, and those
    without RTCP a fixed rate, the ceiling."""
    start_bps: RateBps = 4_000_000
    """Of gcc and nada. Chosen: a 1080p stream starts without waiting for the estimate."""
    min_bps: RateBps = 300_000
    """Chosen: below it there is audio, and no video worth the name."""


class NodeLinkRate(Model):
    """How fast links to neighbours are paced. The ceiling is the neighbour's `rate_bps`."""

    controller: Literal["gcc", "nada", "fixed"] = "fixed"
    """fixed: the ceiling is the path's capacity. Otherwise it is measured, below the ceiling."""
    start_bps: RateBps | None = None
    """None: the ceiling."""
    min_bps: RateBps = 1_000_000
    """Chosen: one 720p stream."""


class Rate(Model):
    """Congestion control: what a path carries is found out by delay and loss."""

    viewers: ViewerRate = ViewerRate()
    node_links: NodeLinkRate = NodeLinkRate()


class GopCache(Model):
    """Where viewers and nodes that come late begin."""

    enabled: bool = True
    """Off: at the next key frame that comes, which none is asked for."""
    start: Literal["key", "gop"] = "key"
    """At the newest complete key frame, or at the one before it: a whole GoP, for players that want
    more in hand than they lose in delay."""


class Dropping(Model):
    """What may wait for a viewer's link before frames are left out; never audio."""

    max_lag_us: int = Field(default=500_000, ge=0, le=60_000_000)
    """0: nothing is left out. Below 50,000 only 0 is allowed. Chosen: what a live viewer bears."""
    max_lag_bytes: int = Field(default=524_288, ge=16_384, le=1 << 30)

    @field_validator("max_lag_us")
    @classmethod
    def _is_zero_or_worth_it(cls, max_lag_us: int) -> int:
        if 0 < max_lag_us < MIN_LAG_US:
            raise ValueError(f"must be 0 or at least {MIN_LAG_US}")
        return max_lag_us


class Versions(Model):
    """When a viewer is sent another bitrate of a broadcast that has several."""

    enabled: bool = True
    patience_us: int = Field(default=500_000, ge=0, le=60_000_000)
    """How long its queue builds up before it goes down. Chosen: two looks, so that one key frame is
    no reason; a GoP may have been cut short by then."""
    calm_us: int = Field(default=2_000_000, ge=0, le=60_000_000)
    """How long nothing has waited before it goes up, if its link's rate says that there is room.
    Chosen: with a GoP of 2 s to wait for, the picture is back within 5 s."""
    room: float = Field(default=1.15, ge=1, le=10)
    """What the link must carry, by the bitrate of the version that is tried. Chosen: key frames."""
    longest_wait_us: int = Field(default=60_000_000, ge=1_000_000, le=3_600_000_000)
    """A version that proved too much is tried again after twice as long each time, up to this."""


class NodeConfig(Model):
    """A node's whole configuration."""

    name: NodeName
    """How other nodes and paths call this node."""
    node_id: NodeId
    listen: AddressText
    """The overlay's UDP socket, which neighbours reach; that of worker k is k ports further."""
    advertised_as: ReachableAddress | None = None
    """What neighbours are to configure, if it differs from `listen` (wildcard, NAT); in /status.
    Workers are reached at the ports after it, in the same order."""
    workers: Workers = 1
    """Native threads that forward, each with its own port and memory. "auto": one for each core
    that the process may use, by its affinity and its control group's quota, less one for Python if
    there are more than two."""
    worker_cpus: tuple[CpuNumber, ...] = ()
    """The core each worker is bound to; empty: where the system puts it."""
    viewers_per_worker: int = Field(default=500, ge=1, le=524_288)
    """Viewers of one broadcast in one worker, before further ones are served by another. Chosen:
    at 1.5 us a packet, 500 viewers of 500 packets/s take 40 % of a core."""
    admin: Admin = Admin()
    controller: Controller | None = None
    log: Log = Log()
    viewers: Viewers = Viewers()
    neighbours: tuple[Neighbour, ...] = ()
    ingests: tuple[Ingest, ...] = ()
    paths: tuple[StreamPath, ...] = ()
    limits: Limits = Limits()
    repair: Repair = Repair()
    rate: Rate = Rate()
    kernel: Kernel = Kernel()
    overload: Overload = Overload()
    gop_cache: GopCache = GopCache()
    dropping: Dropping = Dropping()
    versions: Versions = Versions()

    @cached_property
    def endpoint(self) -> Address:
        """`listen` as a socket takes it."""
        return parse_address(self.listen)

    @cached_property
    def broadcasts(self) -> tuple[Produced, ...]:
        """The ingests, each version by itself."""
        return tuple(part for ingest in self.ingests for part in ingest.by_version)

    @cached_property
    def worker_count(self) -> int:
        """`workers`, counted."""
        return count_workers(self.workers)

    @cached_property
    def worker_endpoints(self) -> tuple[Address, ...]:
        """Where each worker's overlay socket is."""
        return ports_from(self.endpoint, self.worker_count)

    @cached_property
    def viewer_endpoints(self) -> tuple[Address, ...]:
        """Where each worker's socket for viewers is; port 0: any."""
        return ports_from(parse_address(self.viewers.listen), self.worker_count)

    @cached_property
    def reached_ports(self) -> tuple[int, ...]:
        """The ports that neighbours send to, worker by worker."""
        reached = parse_address(self.advertised_as or self.listen)
        return tuple(port for _, port in ports_from(reached, self.worker_count))

    @model_validator(mode="wrap")
    @classmethod
    def _list_every_problem(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            config = handler(data)
        except ValidationError as error:
            problems = problems_of(error, cls)
            problems += cross_check(_valid_parts(data))
        else:
            problems = cross_check(Parts.of(config))
        if problems:
            raise ConfigError(problems)
        return config

    def path_to(self, stream: str, version_of: str | None = None) -> tuple[str, ...] | None:
        """The configured way to a stream; a path that names it wins over one that names the
        broadcast it is a version of, and this over "*"."""
        by_stream = {path.stream: path.via for path in self.paths}
        names = (stream, version_of, "*")
        return next((by_stream[name] for name in names if name in by_stream), None)


def count_workers(workers: Workers) -> int:
    """What "auto" stands for on this host."""
    if workers != "auto":
        return workers
    cores = usable_cores()
    return min(cores - 1 if cores > CORES_WITHOUT_PYTHON else cores, MAX_WORKERS)


def ports_from(first: Address, count: int) -> tuple[Address, ...]:
    """The address and those at the ports after it; port 0 is any port for all."""
    host, port = first
    return tuple((host, port + worker if port else 0) for worker in range(count))


def _valid_parts(data: Any) -> Parts:
    """Whatever is well formed by itself, so that it can still be compared with the rest."""
    table = data if isinstance(data, Mapping) else {}

    def one(model: TypeAdapter[T], value: object) -> T | None:
        try:
            return model.validate_python(value)
        except ValidationError:
            return None

    def each(key: str, model: TypeAdapter[T]) -> tuple[tuple[int, T], ...]:
        values = table.get(key)
        parsed = [one(model, value) for value in values] if isinstance(values, list | tuple) else []
        return tuple((index, part) for index, part in enumerate(parsed) if part is not None)

    return Parts(
        name=one(TypeAdapter(NodeName), table.get("name")),
        node_id=one(TypeAdapter(NodeId), table.get("node_id")),
        listen=one(TypeAdapter(AddressText), table.get("listen")),
        advertised_as=one(TypeAdapter(ReachableAddress), table.get("advertised_as")),
        controller=one(TypeAdapter(Controller), table.get("controller")),
        viewers=one(TypeAdapter(Viewers), table.get("viewers", {})),
        neighbours=each("neighbours", TypeAdapter(Neighbour)),
        ingests=each("ingests", TypeAdapter(Ingest)),
        paths=each("paths", TypeAdapter(StreamPath)),
        limits=one(TypeAdapter(Limits), table.get("limits", {})),
        rate=one(TypeAdapter(Rate), table.get("rate", {})),
        workers=count_workers(one(TypeAdapter(Workers), table.get("workers", 1)) or 1),
        worker_cpus=one(TypeAdapter(tuple[CpuNumber, ...]), table.get("worker_cpus", ())),
    )
