"""Files as sources: order, times, and what is passed through."""

from itertools import pairwise
from pathlib import Path

import av
import pytest
from av.video.frame import PictureType

from overlane.publish.errors import PublishError
from overlane.publish.file_source import FileSource
from overlane.publish.media import CodedAudio, CodedVideo, RawAudio, RawVideo, is_key
from overlane.publish.sample_video import make_test_video


@pytest.fixture(scope="module", params=["mkv", "mp4"])
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("video") / f"sample.{request.param}"
    make_test_video(path, 2.0, seed=1, width=320, height=180, preset="veryfast")
    return path


def test_the_sample_has_b_frames_and_all_its_pictures(video: Path) -> None:
    with av.open(str(video)) as container:
        pictures = [frame.pict_type for frame in container.decode(video=0)]
    assert len(pictures) == 60
    assert PictureType.B in pictures


def test_copied_video_is_in_decoding_order_with_presentation_times(video: Path) -> None:
    source = FileSource(video, copy_video=True, audio=True)
    items = list(source.items())
    source.close()
    frames = [item for item in items if isinstance(item, CodedVideo)]
    assert all(earlier.due_us <= later.due_us for earlier, later in pairwise(items))
    assert items[0].due_us == 0
    assert len(frames) == 60
    ticks = [frame.ticks for frame in frames]
    assert ticks != sorted(ticks)
    assert all(
        abs(later - earlier - 3_000) <= 90 for earlier, later in pairwise(sorted(ticks))
    )  # Matroska keeps milliseconds
    assert all(
        20_000 < later.due_us - earlier.due_us < 45_000 for earlier, later in pairwise(frames)
    )
    assert is_key(frames[0].nals)
    assert [nal[0] & 31 for nal in frames[0].nals][:2] == [7, 8]
    assert sum(isinstance(item, CodedAudio) for item in items) >= 99


def test_decoded_video_keeps_the_files_times_and_takes_another_size(video: Path) -> None:
    source = FileSource(video, copy_video=False, audio=False, size=(160, 90))
    items = list(source.items())
    source.close()
    assert len(items) == 60
    for index, item in enumerate(items):
        assert isinstance(item, RawVideo)
        assert abs(item.ticks - index * 3_000) <= 90
        assert (item.frame.width, item.frame.height) == (160, 90)


def test_other_audio_is_resampled_into_20_ms(tmp_path: Path) -> None:
    path = tmp_path / "aac.mkv"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=10)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=44_100, layout="mono")
        for index in range(10):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = index
            container.mux(picture.encode(frame))
        for index in range(43):
            samples = av.AudioFrame("fltp", "mono", 1024)
            samples.sample_rate, samples.pts = 44_100, index * 1024
            for plane in samples.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(sound.encode(samples))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))
    source = FileSource(path, copy_video=False, audio=True)
    sounds = [item for item in source.items() if isinstance(item, RawAudio)]
    source.close()
    assert 45 <= len(sounds) <= 52
    assert all(later.ticks - earlier.ticks == 960 for earlier, later in pairwise(sounds))


def test_what_cannot_be_published_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="cannot read"):
        FileSource(tmp_path / "none.mkv", copy_video=False, audio=True)
    text = tmp_path / "text.mkv"
    text.write_text("no video")
    with pytest.raises(PublishError, match="no media file"):
        FileSource(text, copy_video=False, audio=True)


NO_MEDIA = [
    (b"", "is empty, cut short, or no media file"),
    (b"hello\n" * 1000, "is empty, cut short, or no media file"),
    (bytes(range(256)) * 400, "is empty, cut short, or no media file"),
    (None, "No such file or directory"),
]


@pytest.mark.parametrize(("content", "said"), NO_MEDIA)
def test_what_is_no_media_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "film.mkv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PublishError, match=said):
        FileSource(path, copy_video=False, audio=True)


@pytest.mark.parametrize("copy_video", [True, False])
def test_a_file_cut_short_gives_what_it_holds(
    tmp_path: Path, video: Path, copy_video: bool
) -> None:
    path = tmp_path / video.name
    path.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    if video.suffix == ".mp4":  # its index stands at the end
        with pytest.raises(PublishError, match="cut short"):
            FileSource(path, copy_video=copy_video, audio=True)
        return
    source = FileSource(path, copy_video=copy_video, audio=True)
    pictures = [item for item in source.items() if isinstance(item, RawVideo | CodedVideo)]
    source.close()
    assert 5 < len(pictures) < 60
