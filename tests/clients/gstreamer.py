"""Debian's GStreamer as broadcaster and as player, by gst-launch-1.0 alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rtp.sdp import PayloadFormat, parse
from tests.clients.source import Contents, read

DEBIAN_PYTHON = "/usr/bin/python3"  # it has GStreamer's bindings
PLAYER = Path(__file__).with_name("gst_player.py")
LAUNCH = ["gst-launch-1.0", "-e"]
VIDEO_TYPE, AUDIO_TYPE = 96, 97
JITTER_BUFFER_MS = 500
SOCKET_BYTES = 4 << 20  # as ffmpeg's
# RFC 4585 3.5.2 lets a receiver ask at once, but then only after its next regular report, and those
# may take 5 % of this. Left to itself the session asks each 0.4 s.
SESSION_BYTES_PER_S = 500_000
_TO = "udpsink host=127.0.0.1"
_RTCP = "sync=false async=false"
_PAYLOADERS = {
    "H264": "h264parse ! {} ! rtph264pay config-interval=-1",
    "H265": "h265parse ! {} ! rtph265pay config-interval=-1",
    "VP8": "{} ! rtpvp8pay",
    "VP9": "{} ! rtpvp9pay",
}
_DEPAYLOADERS = {
    # The parsers drop one of two frames that the jitter buffer gave the same time, as it may where
    # a viewer catches up; so what came is kept before it, too.
    "H264": "rtph264depay request-keyframe=true"
    " ! video/x-h264,stream-format=byte-stream,alignment=au ! tee name=t"
    " t. ! queue ! filesink location={}"
    " t. ! queue ! h264parse",
    "H265": "rtph265depay"
    " ! video/x-h265,stream-format=byte-stream,alignment=au ! tee name=t"
    " t. ! queue ! filesink location={}"
    " t. ! queue ! h265parse",
    "VP9": "rtpvp9depay request-keyframe=true",
    "VP8": "rtpvp8depay request-keyframe=true",
    "opus": "rtpopusdepay ! opusparse",
}


def publish(source: Path, codec: str, video: int, audio: int, rtcp_in: Sequence[int]) -> list[str]:
    """A file in real time through rtpbin; both tracks on one port, as one session, if it is one.

    RTCP goes to the port after each, and comes in at rtcp_in, one port for each session. Sender
    reports tell when sound and picture were due, not when a packet happened to leave.
    """
    is_bundle = video == audio
    into_video, into_audio = (
        ("f.", "f.") if is_bundle else ("b.send_rtp_sink_0", "b.send_rtp_sink_1")
    )
    payloader = _PAYLOADERS[codec].format("clocksync")
    text = (
        f"rtpbin name=b rtcp-sync-send-time=false filesrc location={source} ! matroskademux name=d"
        f" d.video_0 ! queue ! {payloader} pt={VIDEO_TYPE} ! {into_video}"
        f" d.audio_0 ! queue ! opusparse ! clocksync ! rtpopuspay pt={AUDIO_TYPE} ! {into_audio}"
    )
    if is_bundle:
        text += " rtpfunnel name=f ! b.send_rtp_sink_0"
    for session, port in enumerate([video] if is_bundle else [video, audio]):
        text += f" b.send_rtp_src_{session} ! {_TO} port={port} {_RTCP}"
        text += f" b.send_rtcp_src_{session} ! {_TO} port={port + 1} {_RTCP}"
        text += f" udpsrc port={rtcp_in[session]} ! b.recv_rtcp_sink_{session}"
    return [*LAUNCH, *text.split()]


def track_lines(kind: str, codec: str, port: int, rtcp_in: int) -> list[str]:
    """How a node's configuration names what `publish` sends to a port."""
    is_video = kind == "video"
    return [
        "[[ingests.tracks]]",
        f'kind = "{kind}"',
        f'codec = "{codec}"',
        f'listen = "127.0.0.1:{port}"',
        f"payload_type = {VIDEO_TYPE if is_video else AUDIO_TYPE}",
        f"clock_rate = {90_000 if is_video else 48_000}",
        f'rtcp_to = "127.0.0.1:{rtcp_in}"',
    ]


def play(sdp: str, directory: Path, node_port: int, loss: float) -> list[str]:
    """Keeps what comes, with the times at which it is to be shown; ends on SIGINT.

    kept.mkv holds all of it, but for H.264 and H.265 read kept.stream for the pictures.

    loss: share of packets thrown away before the session sees them, so that it asks again.
    node_port: where the node hears RTCP.
    """
    description = parse(sdp)
    text = (
        f"rtpbin name=b latency={JITTER_BUFFER_MS} rtp-profile=avpf do-retransmission=true"
        + "".join(
            f" rtpsession{session}::bandwidth={SESSION_BYTES_PER_S}"
            for session in range(len(description.media))
        )
        + f" matroskamux name=m streamable=true ! filesink location={directory / 'kept.mkv'}"
    )
    for session, medium in enumerate(description.media):
        (only,) = medium.formats
        caps = _caps(medium.media, only)
        text += (
            f" udpsrc port={medium.port} buffer-size={SOCKET_BYTES} caps={caps}"
            f" ! netsim drop-probability={loss}"
            f" ! b.recv_rtp_sink_{session}"
            f" udpsrc port={medium.port + 1} ! b.recv_rtcp_sink_{session}"
            f" b.send_rtcp_src_{session} ! {_TO} port={node_port} {_RTCP}"
        )
        depayloader = _DEPAYLOADERS[only.codec].format(directory / "kept.stream")
        text += f" b. ! {depayloader} ! queue max-size-time=0 max-size-buffers=0 ! m."
    return [*LAUNCH, *text.split()]


def play_repaired(sdp: str, directory: Path, rtcp_to: Sequence[int], feedback_ms: int) -> list[str]:
    """The same by `gst_player`, which also repairs by RTX and returns transport-wide feedback,
    where the description has them. rtcp_to: where to send RTCP for each of its ports. feedback_ms:
    between two feedbacks; 0: after each frame, as by default."""
    ports: list[int] = []
    media = []
    for medium in parse(sdp).media:
        if medium.port not in ports:
            ports.append(medium.port)
        only, *others = medium.formats
        caps = _caps(medium.media, only)
        for uri, number in medium.extensions.items():
            caps += f',extmap-{number}=(string)"{uri}"'
        if "transport-cc" in only.rtcp_feedback:
            caps += ",rtcp-fb-transport-cc=(boolean)true"
        media.append(
            {
                "port": medium.port,
                "rtcp_to": rtcp_to[ports.index(medium.port)],
                "payload_type": only.payload_type,
                "caps": caps,
                "rtx": {
                    str(rtx.payload_type): int(rtx.parameters["apt"])
                    for rtx in others
                    if rtx.codec == "rtx"
                },
                "chain": _DEPAYLOADERS[only.codec].format(directory / "kept.stream")
                + " ! queue max-size-time=0 max-size-buffers=0",
            }
        )
    plan = {
        "directory": str(directory),
        "latency_ms": JITTER_BUFFER_MS,
        "bandwidth": SESSION_BYTES_PER_S,
        "feedback_ms": feedback_ms,
        "media": media,
    }
    path = directory / "plan.json"
    path.write_text(json.dumps(plan, indent=1))
    return [DEBIAN_PYTHON, str(PLAYER), str(path)]


def read_kept(directory: Path) -> Contents:
    """What `play` wrote."""
    pictures = directory / "kept.stream"
    return read(directory / "kept.mkv", pictures if pictures.exists() else None)


def _caps(kind: str, payload: PayloadFormat) -> str:
    fields = {
        "media": kind,
        "clock-rate": f"(int){payload.clock_rate}",
        "encoding-name": payload.codec.upper(),
        "payload": f"(int){payload.payload_type}",
        # What lets the session send them (RFC 4585): the profile alone does not.
        "rtcp-fb-nack": "(boolean)true",
        "rtcp-fb-nack-pli": "(boolean)true",
    }
    for name, value in payload.parameters.items():
        if name.startswith("sprop-"):
            fields[name] = f'(string)"{value}"'
    return "application/x-rtp," + ",".join(f"{name}={value}" for name, value in fields.items())
