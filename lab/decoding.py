"""Decodes what a viewer of the lab's own process gets, in a thread: the proof is a picture."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.timer_fd import now_us
from overlane.play.options import PLAYOUT_TARGET_MS
from overlane.play.reassembly import AccessUnit
from overlane.play.sink import Sink, SinkResult
from overlane.play.unit_order import UnitOrder


class Decoding:
    """From the first key frame on, in the order of sending. Make it inside the loop."""

    def __init__(self, picture: Path | None) -> None:
        """picture: PNG of the last frame; None: none. The thread lasts until `finish`."""
        self._order: UnitOrder[AccessUnit] = UnitOrder(PLAYOUT_TARGET_MS * 1_000)
        self._sink = Sink(None, picture, decode=True)
        self._thread = ThreadPoolExecutor(1, "decoder")
        self._result = asyncio.get_running_loop().run_in_executor(self._thread, self._sink.run)

    def put(self, unit: AccessUnit) -> None:
        """A whole frame; it is decoded when those before it have come, or had their time."""
        self._order.push(unit)
        for each in self._order.ready(now_us()):
            self._sink.put(each)

    async def finish(self) -> SinkResult:
        """What is left is decoded, and the picture written."""
        for each in self._order.drain():
            self._sink.put(each)
        self._sink.finish()
        result = await self._result
        self._thread.shutdown()
        return result
