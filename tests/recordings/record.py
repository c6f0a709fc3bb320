"""Makes the recordings again: runs each client against bare UDP sockets and keeps what it sends.

    .venv/bin/python -m tests.recordings.record [NAME ...]

Needs ffmpeg and GStreamer (README.md beside this file names the packages). SSRCs, sequence numbers
and arrival times differ from run to run; the tests that read the recordings depend on none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.error
from av.video.codeccontext import VideoCodecContext

from rtp.constants import NAL_REF_IDC_MASK
from rtp.payload.h264_packets import split_annexb
from tests.support.recordings import (
    Datagram,
    Recording,
    Track,
    Unit,
    digest,
    save,
)
from tests.support.units import encoded, hevc_slices_of, slices_of

PORT = 5004  # and the three after it; no client knows others
LIMIT_S = 20.0
SETTLE_S = 0.3
DTX_BYTES = 2  # RFC 7587 3.1.3

FFMPEG = "ffmpeg -nostdin -hide_banner -re"
PICTURE = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=3"
VP9 = "-c:v libvpx-vp9 -g 25 -b:v 150k -deadline realtime -cpu-used 8 -lag-in-frames 0 -threads 1"
X264 = "-c:v libx264 -preset veryfast -g 25 -b:v 150k -threads 1"
GST = "gst-launch-1.0 -e"
GST_PICTURE = (
    "videotestsrc is-live=true pattern=zone-plate kx2=9 ky2=6 kt=3 num-buffers=90"
    " ! video/x-raw,width=320,height=180,framerate=30/1"
)
GST_X264 = "x264enc bitrate=150 key-int-max=30 threads=1"
GST_TONE = "audiotestsrc is-live=true num-buffers=150 samplesperbuffer=960"
GST_SEND = "udpsink host=127.0.0.1"
AS_FILE = "video/x-h264,stream-format=byte-stream,alignment=au"


@dataclass(frozen=True, slots=True)
class Encoded:
    """One track to expect, and the file ({0}, {1} in the command) with the encoder's output."""

    codec: str
    suffix: str
    port: int = PORT
    payload_type: int = 96


@dataclass(frozen=True, slots=True)
class Client:
    """prepare: a command that runs before the sockets open."""

    name: str
    about: str
    command: str
    tracks: tuple[Encoded, ...]
    prepare: str = ""


X265 = (
    "-c:v libx265 -preset veryfast -g 25 -b:v 150k -bf 3"
    " -x265-params log-level=error:pools=1:frame-threads=1:b-pyramid=1:b-adapt=0"
)
_TO_ANNEXB = {"H264": "h264_mp4toannexb", "H265": "hevc_mp4toannexb"}
H264_FILE = Encoded("H264", "h264")
H265_FILE = Encoded("H265", "hevc")
CLIENTS = (
    Client(
        "ffmpeg-h264",
        "no options but the encoder's: 1,472-byte packets, parameter sets in band",
        f"{FFMPEG} {PICTURE} {X264} -tune zerolatency -f rtp rtp://127.0.0.1:5004"
        f" {X264} -tune zerolatency -f h264 {{0}}",
        (H264_FILE,),
    ),
    Client(
        "ffmpeg-h264-copy",
        "copied from Matroska: SPS and PPS are only in the SDP",
        f"{FFMPEG} -i {{0}} -c copy -f rtp rtp://127.0.0.1:5004",
        (Encoded("H264", "mkv"),),
        prepare=f"ffmpeg -nostdin -hide_banner -y {PICTURE} {X264} -tune zerolatency"
        " -flags +global_header {0}",
    ),
    Client(
        "ffmpeg-h264-b-pyramid",
        "B frames, some of which others refer to; timestamps are not in sending order",
        f"{FFMPEG} {PICTURE} {X264} -bf 3 -x264-params b-pyramid=normal:b-adapt=0"
        f" -f rtp rtp://127.0.0.1:5004 {X264} -bf 3 -x264-params b-pyramid=normal:b-adapt=0"
        " -f h264 {0}",
        (H264_FILE,),
    ),
    Client(
        "ffmpeg-h265",
        "H.265 with open GoPs and B frames, some of which others refer to; 1,472-byte packets",
        f"{FFMPEG} {PICTURE} {X265} -f rtp rtp://127.0.0.1:5004 {X265} -f hevc {{0}}",
        (H265_FILE,),
    ),
    Client(
        "ffmpeg-h265-copy",
        "H.265 copied from Matroska: VPS, SPS and PPS are only in the SDP",
        f"{FFMPEG} -i {{0}} -c copy -f rtp rtp://127.0.0.1:5004",
        (Encoded("H265", "mkv"),),
        prepare=f"ffmpeg -nostdin -hide_banner -y {PICTURE} {X265} -flags +global_header {{0}}",
    ),
    Client(
        "gst-h265",
        "H.265 in aggregation packets, parameter sets with each key frame",
        f"{GST} {GST_PICTURE} ! x265enc bitrate=150 key-int-max=30 speed-preset=veryfast"
        " option-string=pools=1:frame-threads=1:bframes=2:b-adapt=0:open-gop=0"
        " ! video/x-h265,stream-format=byte-stream,alignment=au ! tee name=t"
        " t. ! queue ! h265parse ! rtph265pay config-interval=-1 aggregate-mode=zero-latency"
        " ! udpsink host=127.0.0.1 port=5004"
        " t. ! queue ! filesink location={0}",
        (H265_FILE,),
    ),
    Client(
        "ffmpeg-vp9",
        "VP9, no picture ids and never P, 1,472-byte packets",
        f"{FFMPEG} {PICTURE} {VP9} -strict experimental -f rtp rtp://127.0.0.1:5004"
        f" {VP9} -f ivf {{0}}",
        (Encoded("VP9", "ivf"),),
    ),
    Client(
        "gst-vp9",
        "VP9 with 15-bit picture ids",
        f"{GST} {GST_PICTURE} ! vp9enc deadline=1 cpu-used=8 target-bitrate=150000"
        " keyframe-max-dist=30 lag-in-frames=0 ! tee name=t"
        " t. ! queue ! rtpvp9pay picture-id-mode=15-bit ! udpsink host=127.0.0.1 port=5004"
        " t. ! queue ! avmux_ivf ! filesink location={0}",
        (Encoded("VP9", "ivf"),),
    ),
    Client(
        "pyav-av1",
        "AV1 with hidden frames and some that nobody refers to, by the libavformat in PyAV",
        "{python} -m tests.recordings.send_av1 5004 {0}",
        (Encoded("AV1", "ivf"),),
    ),
    Client(
        "ffmpeg-vp8",
        "VP8",
        f"{FFMPEG} {PICTURE} -c:v libvpx -g 25 -b:v 150k -deadline good -cpu-used 4 -threads 1"
        " -f rtp rtp://127.0.0.1:5004 -c:v libvpx -g 25 -b:v 150k -deadline good -cpu-used 4"
        " -threads 1 -f ivf {0}",
        (Encoded("VP8", "ivf"),),
    ),
    Client(
        "ffmpeg-h264-opus",
        "two outputs of one process, two port pairs; 6 s, so that a second report comes",
        f"{FFMPEG} -f lavfi -i testsrc2=size=160x90:rate=10:duration=6"
        " -f lavfi -i sine=frequency=1000:sample_rate=48000:duration=6"
        " -map 0:v -c:v libx264 -preset veryfast -g 20 -b:v 40k -threads 1 -tune zerolatency"
        " -f rtp rtp://127.0.0.1:5004"
        " -map 1:a -c:a libopus -b:a 32k -payload_type 111 -f rtp rtp://127.0.0.1:5006"
        " -map 0:v -c:v libx264 -preset veryfast -g 20 -b:v 40k -threads 1 -tune zerolatency"
        " -f h264 {0}"
        " -map 1:a -c:a libopus -b:a 32k -f ogg {1}",
        (H264_FILE, Encoded("opus", "ogg", PORT + 2, 111)),
    ),
    Client(
        "gst-h264",
        "no options of the payloader: 1,400-byte packets, parameter sets in band by x264enc",
        f"{GST} {GST_PICTURE} ! {GST_X264} tune=zerolatency ! {AS_FILE} ! tee name=t"
        " t. ! queue ! rtph264pay ! udpsink host=127.0.0.1 port=5004"
        " t. ! queue ! filesink location={0}",
        (H264_FILE,),
    ),
    Client(
        "gst-h264-config",
        "config-interval=-1 and aggregate-mode=zero-latency: STAP-A; B frames",
        f"{GST} {GST_PICTURE} ! {GST_X264} bframes=2 b-adapt=false ! {AS_FILE} ! tee name=t"
        " t. ! queue ! h264parse ! rtph264pay config-interval=-1 aggregate-mode=zero-latency"
        " ! udpsink host=127.0.0.1 port=5004"
        " t. ! queue ! filesink location={0}",
        (H264_FILE,),
    ),
    Client(
        "gst-vp8",
        "VP8 with 15-bit picture ids",
        f"{GST} {GST_PICTURE} ! vp8enc deadline=1 target-bitrate=150000 keyframe-max-dist=30"
        " ! tee name=t"
        " t. ! queue ! rtpvp8pay picture-id-mode=15-bit ! udpsink host=127.0.0.1 port=5004"
        " t. ! queue ! avmux_ivf ! filesink location={0}",
        (Encoded("VP8", "ivf"),),
    ),
    Client(
        "gst-opus-dtx",
        "Opus of silence with DTX: ten packets, then one each 420 ms",
        f"{GST} audiotestsrc is-live=true num-buffers=150 samplesperbuffer=960 wave=silence"
        " ! opusenc bitrate=24000 dtx=true audio-type=voice ! tee name=a"
        " a. ! queue ! rtpopuspay pt=97 dtx=true ! udpsink host=127.0.0.1 port=5004"
        " a. ! queue ! oggmux ! filesink location={0}",
        (Encoded("opus", "ogg", PORT, 97),),
    ),
    Client(
        "gst-bundle",
        "rtpbin: H.264 (96) and Opus (97), two SSRCs, one session and port, RTCP on the next",
        f"{GST} rtpbin name=b"
        " rtpfunnel name=f ! b.send_rtp_sink_0"
        f" {GST_PICTURE} ! {GST_X264} tune=zerolatency ! {AS_FILE} ! tee name=v"
        " v. ! queue ! rtph264pay pt=96 config-interval=1 ! f."
        " v. ! queue ! filesink location={0}"
        f" {GST_TONE} ! opusenc bitrate=32000 ! tee name=a"
        " a. ! queue ! rtpopuspay pt=97 ! f."
        " a. ! queue ! oggmux ! filesink location={1}"
        " b.send_rtp_src_0 ! udpsink host=127.0.0.1 port=5004"
        " b.send_rtcp_src_0 ! udpsink host=127.0.0.1 port=5005 sync=false async=false",
        (H264_FILE, Encoded("opus", "ogg", PORT, 97)),
    ),
    Client(
        "gst-rtcp-mux",
        "rtpbin: VP8 and Opus in two sessions on two ports, each with its RTCP on the same port",
        f"{GST} rtpbin name=b"
        f" {GST_PICTURE} ! vp8enc deadline=1 target-bitrate=100000 keyframe-max-dist=30"
        " ! tee name=v"
        " v. ! queue ! rtpvp8pay pt=96 ! b.send_rtp_sink_0"
        " v. ! queue ! avmux_ivf ! filesink location={0}"
        f" {GST_TONE} ! opusenc bitrate=32000 ! tee name=a"
        " a. ! queue ! rtpopuspay pt=97 ! b.send_rtp_sink_1"
        " a. ! queue ! oggmux ! filesink location={1}"
        f" b.send_rtp_src_0 ! {GST_SEND} port=5004 bind-port=5014"
        f" b.send_rtcp_src_0 ! {GST_SEND} port=5004 bind-port=5014 sync=false async=false"
        f" b.send_rtp_src_1 ! {GST_SEND} port=5006 bind-port=5016"
        f" b.send_rtcp_src_1 ! {GST_SEND} port=5006 bind-port=5016 sync=false async=false",
        (Encoded("VP8", "ivf"), Encoded("opus", "ogg", PORT + 2, 97)),
    ),
)


class _Port(asyncio.DatagramProtocol):
    def __init__(self, port: int, kept: list[Datagram]) -> None:
        self.port = port
        self.kept = kept

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.kept.append(Datagram(time.time_ns() // 1000, addr[1], self.port, data))


async def record(client: Client, directory: Path) -> Recording:
    """Run it once. Raises RuntimeError with its output if it fails."""
    files = [str(directory / f"{i}.{t.suffix}") for i, t in enumerate(client.tracks)]
    if client.prepare:
        await _run(client.prepare.format(*files, python=sys.executable), directory)
    kept: list[Datagram] = []
    loop = asyncio.get_running_loop()
    transports = []
    for port in range(PORT, PORT + 4):
        transport, _ = await loop.create_datagram_endpoint(
            partial(_Port, port, kept), local_addr=("127.0.0.1", port)
        )
        transports.append(transport)
    try:
        said = await _run(client.command.format(*files, python=sys.executable), directory)
        await asyncio.sleep(SETTLE_S)
    finally:
        for transport in transports:
            transport.close()
    _, _, sdp = said.partition("SDP:\n")
    sdp = sdp.partition("\n\n")[0]
    return Recording(
        name=client.name,
        about=client.about,
        command=" && ".join(
            c.replace("{python}", "python").replace("{", "FILE{")
            for c in (client.prepare, client.command)
            if c
        ),
        version=await _version(client, directory),
        sdp=sdp,
        tracks=[
            Track(t.codec, t.port, t.payload_type, units_of(t.codec, Path(file)))
            for t, file in zip(client.tracks, files, strict=True)
        ],
        datagrams=kept,
    )


async def _version(client: Client, directory: Path) -> str:
    program = client.command.split()[0]
    if program == "{python}":
        return f"PyAV {av.__version__}, libavformat {av.library_versions['libavformat']}"
    return (await _run(f"{program} -version", directory)).splitlines()[0]


def units_of(codec: str, path: Path) -> list[Unit]:
    """The encoder's access units, as its file has them."""
    annexb = av.BitStreamFilterContext
    with av.open(str(path)) as container:
        stream = container.streams[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        if codec == "opus":  # of those that DTX shortens to their first byte nothing is sent
            packets = [packet for packet in packets if packet.size > DTX_BYTES]
        if codec in _TO_ANNEXB and path.suffix == ".mkv":
            convert = annexb(_TO_ANNEXB[codec], in_stream=stream)
            packets = [out for packet in packets for out in convert.filter(packet)]
        needed = _needed_by_others(packets) if codec == "AV1" else [True] * len(packets)
        return [
            _unit(codec, bytes(packet), packet.is_keyframe, is_needed)
            for packet, is_needed in zip(packets, needed, strict=True)
        ]


def _unit(codec: str, data: bytes, is_key: bool, is_reference: bool) -> Unit:
    if codec == "H264":
        is_reference = any(nal[0] & NAL_REF_IDC_MASK for nal in slices_of(split_annexb(data)))
    elif codec == "H265":  # the clients here use one sub-layer
        kinds = {nal[0] >> 1 for nal in hevc_slices_of(split_annexb(data))}
        is_reference = any(kind > 14 or kind % 2 for kind in kinds)
    return Unit(digest(encoded(codec, data)), is_key, is_reference)


def _needed_by_others(packets: Sequence[av.Packet[Any]]) -> list[bool]:
    """By experiment: whether other pictures change when one temporal unit is left out."""
    frames = [(packet.pts or 0, bytes(packet)) for packet in packets]
    whole = _pictures(frames)
    needed = []
    for pts, _ in frames:
        without = {time: picture for time, picture in whole.items() if time != pts}
        needed.append(_pictures([each for each in frames if each[0] != pts]) != without)
    return needed


def _pictures(frames: Sequence[tuple[int, bytes]]) -> dict[int | None, str]:
    decoder = av.CodecContext.create("libdav1d", "r")
    assert isinstance(decoder, VideoCodecContext)
    found: dict[int | None, str] = {}
    packets: list[av.Packet[Any] | None] = []
    for pts, data in frames:
        packet = av.Packet(data)
        packet.pts = pts
        packets.append(packet)
    for each in [*packets, None]:
        with contextlib.suppress(av.error.FFmpegError):
            found |= {f.pts: digest(f.to_ndarray().tobytes()) for f in decoder.decode(each)}
    return found


async def _run(command: str, directory: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command),
        cwd=directory,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise RuntimeError(f"it did not end within {LIMIT_S:.0f} s: {command}") from None
    if process.returncode != 0 and not command.endswith("-version"):
        raise RuntimeError(f"{command}\n{said.decode(errors='replace')}")
    return said.decode(errors="replace")


async def _record_all(names: Sequence[str]) -> None:
    for client in CLIENTS:
        if names and client.name not in names:
            continue
        with tempfile.TemporaryDirectory() as directory:
            recording = await record(client, Path(directory))
        save(recording)
        tracks = ", ".join(
            f"{t.codec}: {len(recording.rtp(t))} packets, {len(t.units)} units"
            for t in recording.tracks
        )
        largest = max(len(datagram.data) for datagram in recording.datagrams)
        reports = len(recording.rtcp())
        sys.stdout.write(f"{client.name}: {tracks}; largest {largest}; {reports} RTCP\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help="only these")
    asyncio.run(_record_all(parser.parse_args().name))
