"""Capture and encoding, in real time, in a thread of their own: the event loop only sends."""

import threading
import time
from collections.abc import Callable

from overlane.publish.encoders import H264Encoder, OpusEncoder
from overlane.publish.media import (
    AudioUnit,
    CodedVideo,
    MediaItem,
    MediaSource,
    MediaUnit,
    RawAudio,
    RawVideo,
    VideoUnit,
    is_key,
)


def monotonic_us() -> int:
    """CLOCK_MONOTONIC, the clock of the manifest."""
    return time.monotonic_ns() // 1_000


class Camera:
    """Waits until each item of `source` is due, encodes it, and hands it to `deliver`.

    `run` belongs to one thread; the other methods may be called from any.
    """

    def __init__(
        self,
        source: MediaSource,
        video: H264Encoder,
        audio: OpusEncoder,
        deliver: Callable[[MediaUnit], None],
        seconds: float | None = None,
    ) -> None:
        self._source = source
        self._video = video
        self._audio = audio
        self._deliver = deliver
        self._end_us = None if seconds is None else round(seconds * 1_000_000)
        self._stopped = threading.Event()
        self.start_us = monotonic_us()
        self.behind_us_max = 0
        """How late an item was captured at worst: above a frame interval, the machine is slow."""

    def run(self) -> None:
        """Returns when the source or the time is over, or after `stop`."""
        items = self._source.items()
        item = next(items, None)  # opening and drawing the first picture takes no capture time
        self.start_us = monotonic_us()
        while item is not None and not self._is_over(item):
            for unit in self._encode(item, self.start_us + item.due_us):
                self._deliver(unit)
            item = next(items, None)
        for unit in self._video.flush():
            self._deliver(unit)

    def stop(self) -> None:
        self._stopped.set()

    def request_key_frame(self) -> None:
        """Without effect on H.264 that is passed through."""
        self._video.request_key_frame()

    def _is_over(self, item: MediaItem) -> bool:
        """Waits until the item is due; whether it is to be left out."""
        if self._end_us is not None and item.due_us >= self._end_us:
            return True
        wait_us = self.start_us + item.due_us - monotonic_us()
        self.behind_us_max = max(self.behind_us_max, -wait_us)
        return self._stopped.wait(max(wait_us, 0) / 1_000_000)

    def _encode(self, item: MediaItem, capture_us: int) -> list[VideoUnit] | list[AudioUnit]:
        if isinstance(item, RawVideo):
            return self._video.encode(item, capture_us)
        if isinstance(item, RawAudio):
            return self._audio.encode(item)
        if isinstance(item, CodedVideo):
            return [VideoUnit(item.ticks, capture_us, item.nals, is_key(item.nals))]
        return [AudioUnit(item.ticks, item.payload)]
