"""Configuration files of a lab's nodes, as lines of TOML, and the command that runs one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BasicPorts:
    """On 127.0.0.1."""

    overlay: int
    admin: int
    viewers: int


def node_lines(name: str, node_id: int, ports: BasicPorts, *, repair: bool) -> list[str]:
    """All but neighbours, streams and paths."""
    return [
        f'name = "{name}"',
        f"node_id = {node_id}",
        f'listen = "127.0.0.1:{ports.overlay}"',
        "[admin]",
        f'listen = "127.0.0.1:{ports.admin}"',
        "[log]",
        'format = "json"',
        "[viewers]",
        f'listen = "127.0.0.1:{ports.viewers}"',
        "[repair]",
        f"enabled = {str(repair).lower()}",
    ]


def neighbour_lines(
    name: str,
    node_id: int,
    address: tuple[str, int],
    secret: str,
    ceiling_bps: int | None = None,
) -> list[str]:
    """address: where this node must send what is for the neighbour. ceiling_bps: what the link
    carries; None: a node's default."""
    return [
        "[[neighbours]]",
        f'name = "{name}"',
        f"node_id = {node_id}",
        f'address = "{address[0]}:{address[1]}"',
        f'secret = "{secret}"',
        *([] if ceiling_bps is None else [f"rate_bps = {ceiling_bps}"]),
    ]


def ingest_lines(
    stream: str, video_ports: Sequence[int], audio_port: int | None, bitrates: Sequence[int] = ()
) -> list[str]:
    """A broadcast of H.264 and Opus as `overlane publish` sends it. video_ports: of each version,
    the best first; bitrates: of each, if there are several."""
    lines = ["[[ingests]]", f'name = "{stream}"']
    tracks = [("video", "H264", port, 96, 90_000) for port in video_ports]
    if audio_port is not None:
        tracks.append(("audio", "opus", audio_port, 111, 48_000))
    for number, (kind, codec, port, payload_type, clock) in enumerate(tracks):
        lines += [
            "[[ingests.tracks]]",
            f'kind = "{kind}"',
            f'codec = "{codec}"',
            f'listen = "127.0.0.1:{port}"',
            'rtcp = "mux"',
            f"payload_type = {payload_type}",
            f"clock_rate = {clock}",
        ]
        if kind == "video" and len(video_ports) > 1:
            lines += [f"version = {number}", f"bitrate_bps = {bitrates[number]}"]
    return lines


def path_lines(stream: str, via: tuple[str, ...]) -> list[str]:
    """via: in the order SUBSCRIBE visits them, the producer last."""
    listed = ", ".join(f'"{name}"' for name in via)
    return ["[[paths]]", f'stream = "{stream}"', f"via = [{listed}]"]


def write_private(path: Path, text: str) -> None:
    """For a file that holds a secret."""
    path.touch(mode=0o600)
    path.write_text(text)


def overlane(*arguments: object) -> list[str]:
    """The command line of a child of the lab."""
    return [sys.executable, "-m", "overlane", *map(str, arguments)]
