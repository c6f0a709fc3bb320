"""Debian's ffmpeg as broadcaster and as player, and how what it played is read."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.clients.source import Contents, beeps_of, flashes_of

# What ffmpeg calls RTP of VP9.
EXPERIMENTAL = ["-strict", "experimental"]
FFMPEG = ["ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-y"]
VIDEO_TYPE, AUDIO_TYPE = 96, 97
SOCKET_BYTES = 4 << 20  # the kernel may grant less (net.core.rmem_max)


def publish(source: Path, video: int, audio: int) -> list[str]:
    """A file in real time, as it is, to two ports; packets of ffmpeg's default size."""
    return _send(["-re", "-i", str(source)], [], video, audio)


def describe(source: Path, sdp: Path, video: int, audio: int) -> list[str]:
    """Writes the description of what `publish` sends, parameter sets included. A few packets go to
    the ports, where nobody need listen yet."""
    return _send(["-t", "0.05", "-i", str(source)], ["-sdp_file", str(sdp)], video, audio)


def _send(input_options: list[str], options: list[str], video: int, audio: int) -> list[str]:
    """Times may be negative: ffmpeg would else delay the output with B frames, and only that."""
    command = [*FFMPEG, *input_options, *options]
    for kind, payload_type, port in (("v", VIDEO_TYPE, video), ("a", AUDIO_TYPE, audio)):
        command += ["-map", f"0:{kind}", "-c", "copy", "-avoid_negative_ts", "disabled"]
        command += [
            *EXPERIMENTAL,
            "-payload_type",
            str(payload_type),
            "-f",
            "rtp",
            f"rtp://127.0.0.1:{port}",
        ]
    return command


def play(sdp: Path, directory: Path) -> list[str]:
    """Ends on SIGINT. 500 ms for packets that come out of order; repaired ones do. It decodes in
    the thread that reads its sockets: these have to hold what comes while the machine is busy."""
    network = ["-protocol_whitelist", "file,udp,rtp", "-max_delay", "500000"]
    network += ["-buffer_size", str(SOCKET_BYTES)]
    return [*FFMPEG, *network, "-i", str(sdp), *_outputs(directory)]


def play_file(source: Path, directory: Path) -> list[str]:
    """The same with the source itself: what a perfect network would give."""
    return [*FFMPEG, "-i", str(source), *_outputs(directory)]


def decode(stream: Path) -> str:
    """What ffmpeg says of a stream that it decodes. Raises CalledProcessError."""
    command = [*FFMPEG, "-loglevel", "warning", "-i", str(stream), "-f", "null", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr


def read_played(directory: Path) -> Contents:
    """What `play` or `play_file` wrote: hashes of decoded pictures and of sound packets."""
    return Contents(
        video=_hashes(directory / "video.md5"),
        audio=_hashes(directory / "audio.md5"),
        flashes_s=flashes_of(directory / "seen.mkv"),
        beeps_s=beeps_of(directory / "seen.mkv"),
    )


def _outputs(directory: Path) -> list[str]:
    """Every decoded picture's hash; every sound packet's; the flashing half and the sound."""
    as_it_comes = ["-vsync", "passthrough"]
    return [
        *["-map", "0:v", *as_it_comes, "-f", "framemd5", str(directory / "video.md5")],
        *["-map", "0:a", "-c", "copy", "-f", "framemd5", str(directory / "audio.md5")],
        *["-map", "0:v", "-map", "0:a", *as_it_comes, "-vf", "crop=iw/2:ih:0:0,scale=64:36"],
        *["-c:v", "ffv1", "-c:a", "pcm_s16le", str(directory / "seen.mkv")],
    ]


def _hashes(path: Path) -> list[str]:
    """The sixth column; side data may follow."""
    lines = path.read_text().splitlines()
    return [line.split(",")[5].strip() for line in lines if line and not line.startswith("#")]
