"""The part of the virtual overlay that runs per packet: engines, paths, encoders and viewers.

Hosts, encoders and viewers are numbered from 0; other numbers raise IndexError. Time is integer
microseconds. Seeds are 64 bits. Broadcast and encoder are one: a viewer watches an encoder.
"""

from typing import Final, final

from fastpath import Engine
from lab.link import LinkConfig
from lab.virtual.figures import ViewerFigures, ViewerLook

TRANSPORT_CC_ID: Final[int]
"""Which id of the header extension viewers understand as the transport number."""

@final
class World:
    def __new__(
        cls,
        hosts: int,
        viewers: int,
        encoders: int,
        *,
        workers: int = 1,
        accesses: int = 0,
        start_us: int = 0,
    ) -> World:
        """workers: the most that a host has."""

    # -- hosts and paths
    def add_host(self, host: int, engine: Engine, overlay_port: int, worker: int = 0) -> None:
        """From now on this engine answers there; nobody else may turn it. worker: whose it is."""
    def remove_host(self, host: int) -> None:
        """What is under way to it is lost."""
    def wake(self, host: int) -> None:
        """Its workers have commands: a turn at the present time, in the next `run`."""
    def set_path(self, source: int, target: int, config: LinkConfig, seed: int) -> None:
        """Join two hosts in one direction, or change that (the seed is the first call's)."""
    def path_counts(self, source: int, target: int) -> tuple[int, int, int]:
        """Datagrams sent, lost, and dropped as too large or at the bottleneck's queue."""

    # -- access paths
    def open_access(self, access: int, seed: int) -> None:
        """Once, before its first `set_access`. seed: of both directions."""
    def set_access(self, access: int, forward: LinkConfig, back: LinkConfig) -> None:
        """What it does to datagrams from now on. forward: in the direction of the media."""
    def put_viewer_behind(self, viewer: int, access: int, beyond_us: int = 0) -> None:
        """From now on. Several may be behind one, and share its bottleneck. beyond_us: one way, on top
        of the path's delay."""
    def put_encoder_behind(self, encoder: int, access: int) -> None: ...
    def access_counts(self, access: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """As `path_counts`, forward and back."""
    def access_load(
        self, access: int, is_forward: bool
    ) -> tuple[float, int, tuple[tuple[int, int], ...]]:
        """Of its bottleneck: bits it could have sent by now, bytes that passed it, and from coming to having left it:
        milliseconds, rounded down, and how many took so long; 2,047 and more are one."""
    def access_wait_us(self, access: int) -> int:
        """How long media would wait now at its bottleneck."""

    def admit(self, source: int, target: int, size: int, now_us: int) -> tuple[int, ...]:
        """When a datagram would arrive that is not the overlay's: as `lab.link.LinkModel.admit`."""
    def admit_access(
        self, access: int, is_forward: bool, size: int, now_us: int
    ) -> tuple[int, ...]: ...

    # -- encoders
    def start_encoder(
        self,
        encoder: int,
        *,
        seed: int,
        start_us: int,
        end_us: int,
        fps: int,
        gop_frames: int,
        bitrate_bps: int,
        has_audio: bool,
        b_frames: int = 0,
        broadcast: int = -1,
        version: int = 0,
        codec: int = 0,
    ) -> None:
        """codec: its place in `lab.scenario.model.CODECS`. broadcast: whose version it is, by the number of the encoder of version 0; -1: its own."""
    def pause_encoder(self, encoder: int) -> None:
        """It sends nothing until it is resumed, which goes on with a key frame."""
    def resume_encoder(self, encoder: int) -> None: ...
    def set_bitrate(self, encoder: int, bitrate_bps: int) -> None:
        """From the next frame on."""
    def aim_encoder(self, encoder: int, host: int, video_port: int, audio_port: int) -> None:
        """It sends to these ports of a host, both of one worker, or with -1 to nobody."""
    def restart_encoder(self, encoder: int) -> None:
        """New SSRCs, sequence numbers and time stamps, and a key frame; frames are counted on."""
    def keys_asked(self, encoder: int) -> int:
        """Picture loss indications that reached it; only over an access path."""
    def frames_sent(self, encoder: int) -> int: ...

    # -- viewers
    def set_viewer(
        self, viewer: int, encoder: int, gap_threshold_us: int, codec: int = 0
    ) -> None:
        """What it watches, and from how long on silences are listed."""
    def switch_viewer(self, viewer: int, encoder: int) -> None:
        """What it goes on with as soon as that comes, and when it joins again."""
    def note_packet_delays(self, viewer: int) -> None:
        """Of what comes from now on, beside those of frames: `ViewerFigures.packet_delays`."""
    def let_speak(self, viewer: int, wanted: int, seed: int) -> None:
        """Which RTCP it sends: 1 receiver reports, 2 NACK, 4 transport-wide feedback by the header
        extension `TRANSPORT_CC_ID`, 8 PLI, or their sum."""
    def let_ask_for_rtx(self, viewer: int, payload_type: int) -> None:
        """What comes under this type is video sent again (RFC 4588); 0: nothing does."""
    def feedback_counts(self, viewer: int) -> tuple[int, int]:
        """Reports, and packets asked for, each time counted."""
    def join(self, viewer: int) -> None:
        """A stay begins: what it is sent counts."""
    def leave(self, viewer: int, due_us: int) -> None:
        """A stay ends. Frames sent by due_us are expected of it."""
    def newest_frame_us(self, viewer: int) -> int:
        """When its last whole frame was complete; -1: none was."""
    def faults(self, viewer: int) -> tuple[int, int]:
        """Duplicate and corrupt packets so far."""
    def look(self, viewer: int) -> ViewerLook: ...
    def viewer(self, viewer: int) -> ViewerFigures: ...

    # -- running
    def run(self, until_us: int) -> int:
        """On to this time, or until an engine has events. Returns the time that it is then."""
    def told(self) -> list[int]:
        """Hosts whose engines have events."""
    def break_by_echo(self, every: int) -> None:
        """A fault on purpose: each so many-th packet comes twice to its viewer; 0: none."""
    def break_by_loss(self, every: int, *, between_nodes: bool = False) -> None:
        """Likewise: each so many-th does not come to its viewer, or to a node without its path knowing."""
    def break_by_omission(self, every: int, *, of_video: bool) -> None:
        """Likewise: each so many-th frame is left out, and numbers go on as if there was none."""
    @property
    def now_us(self) -> int: ...
    @property
    def datagrams(self) -> int:
        """That were delivered."""
    @property
    def turns(self) -> int: ...
    @property
    def digest(self) -> str:
        """Of every delivered datagram, with its time, sender and receiver: 32 hex digits."""
