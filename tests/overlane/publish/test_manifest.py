"""Writing and reading a manifest, also one that is still being written."""

from pathlib import Path

import msgspec
import pytest

from overlane.publish.manifest import (
    CLOCK_NAME,
    AudioTrack,
    End,
    Header,
    ManifestError,
    ManifestWriter,
    SentAudio,
    SentFrame,
    VideoTrack,
    boot_id,
    read_manifest,
)
from tests.support.disk import file_size_limit

HEADER = Header(
    version=1,
    stream="s",
    clock=CLOCK_NAME,
    video=VideoTrack(payload_type=96, clock_rate=90_000, ssrc=1, width=64, height=64, fps=30.0),
    audio=AudioTrack(payload_type=111, clock_rate=48_000, ssrc=2),
)
FRAME = SentFrame(
    frame=0, capture_us=1, sent_us=2, rtp_time=3, packets=4, bytes=5, key=True, hash="aa"
)
AUDIO = SentAudio(audio=65_535, sent_us=9, rtp_time=8, hash="bb")
END = End(end=True, frames=1, video_packets=4, audio_packets=1, packets_sent=6)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with ManifestWriter(path) as writer:
        for record in (HEADER, FRAME, AUDIO, END):
            writer.write(record)
    manifest = read_manifest(path)
    assert (manifest.header, manifest.frames, manifest.audio) == (HEADER, [FRAME], [AUDIO])
    assert manifest.end == END


def test_each_line_is_readable_at_once_and_a_partial_one_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with ManifestWriter(path) as writer:
        writer.write(HEADER)
        writer.write(FRAME)
        with path.open("ab") as other:
            other.write(b'{"frame":1,"capt')
        manifest = read_manifest(path)
    assert (manifest.frames, manifest.end) == ([FRAME], None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}\n",
        "[1]\n",
        "no json\n",
        "[" * 9999 + "\n",
        '{"frame":0}\n',
        '{"end":true}\n',
        '{"version":1}\n',
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(text)
    with pytest.raises(ManifestError):
        read_manifest(path)


def test_after_a_failed_write_the_whole_lines_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    limit = len(msgspec.json.encode(HEADER)) + len(msgspec.json.encode(FRAME)) + 20
    with ManifestWriter(path) as writer, file_size_limit(limit):
        for record in (HEADER, FRAME, FRAME, END):
            writer.write(record)
    assert writer.problem == f"cannot write {path}: File too large; the manifest ends there"
    assert path.stat().st_size == limit
    manifest = read_manifest(path)
    assert (manifest.frames, manifest.end) == ([FRAME], None)


def test_clocks_are_common_on_one_machine_until_it_restarts(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    for boot, shares in ((boot_id(), True), ("another", False)):
        with ManifestWriter(path) as writer:
            writer.write(msgspec.structs.replace(HEADER, boot_id=boot))
        assert read_manifest(path).shares_clock is shares


def test_a_device_is_refused() -> None:
    with pytest.raises(ManifestError, match="cannot read /dev/zero: it is not a file"):
        read_manifest(Path("/dev/zero"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(tmp_path / "none")
