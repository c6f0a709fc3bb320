"""Whole files or none."""

import os
from pathlib import Path

import pytest

from overlane.files import part_of, write_whole
from tests.support.disk import file_size_limit


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "frame.png"
    write_whole(path, b"first")
    with file_size_limit(100), pytest.raises(OSError, match="File too large"):
        write_whole(path, bytes(101))
    assert path.read_bytes() == b"first"
    write_whole(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["frame.png"]


def test_a_device_is_written_to_and_stays_what_it_is() -> None:
    assert part_of(Path("/dev/null")) == Path("/dev/null")
    write_whole(Path("/dev/null"), b"x")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match="No space left"):
        write_whole(Path("/dev/full"), b"x")


def test_a_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write_whole(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"x"


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "x", b"")
