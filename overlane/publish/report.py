"""What `publish` tells while it runs and when it is done."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

PublishEnd: TypeAlias = Literal["running", "finished", "stopped"]


class PublishReport(msgspec.Struct, frozen=True, kw_only=True):
    """Plain values, fit for `msgspec.json.encode` and `msgspec.to_builtins`.

    ended: "finished" at the end of the file or of `seconds`, "stopped" by a signal or the caller.
    packets_refused: sends the peer's host answered with "port unreachable": nobody listens there.
    behind_ms_max: how late a picture was taken at worst; above a frame interval, this machine is
    too slow to encode in real time.
    problems: what could not be written, a line each; the broadcast went on without it.
    """

    stream: str
    ended: PublishEnd
    seconds: float
    width: int
    height: int
    fps: float
    frames: int
    key_frames: int
    video_packets: int
    audio_packets: int
    packets_sent: int
    bytes_sent: int
    packets_refused: int
    key_frame_requests: int
    video_bps: int
    behind_ms_max: float
    manifest: str | None
    problems: list[str]


ProgressCallback: TypeAlias = Callable[[PublishReport], None]
