"""What options are refused."""

from math import inf, nan
from typing import Any

import pytest
from pydantic import ValidationError

from overlane.publish.errors import PublishError
from overlane.publish.options import PublishOptions, split_address


def test_addresses() -> None:
    assert split_address("127.0.0.1:5004") == ("127.0.0.1", 5004)
    assert split_address("[::1]:5004") == ("::1", 5004)


@pytest.mark.parametrize("text", ["", "host", "host:", ":5", "host:0", "host:65536", "host:x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(PublishError):
        split_address(text)
    with pytest.raises(ValidationError):
        PublishOptions(stream="s", to=text)


def test_copying_needs_a_file() -> None:
    with pytest.raises(ValidationError, match="copy_video needs a source file"):
        PublishOptions(stream="s", to="h:1", copy_video=True)


BEYOND = [{"seconds": inf}, {"seconds": nan}, {"bitrate_bps": 10**20}, {"gop_s": 1e300}]


@pytest.mark.parametrize("changes", BEYOND)
def test_numbers_that_no_encoder_takes(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PublishOptions(stream="s", to="h:1", **changes)
