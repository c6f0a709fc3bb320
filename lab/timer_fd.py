"""A one-shot timer with microsecond precision for an event loop.

uvloop's own timers count whole milliseconds and asyncio rounds its waits up to one, too coarse for
emulating a network. A Linux timerfd is a file that becomes readable on time; `os.timerfd_create`
exists only from Python 3.13 on, so it is called through ctypes here. See timerfd_create(2).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

_TFD_TIMER_ABSTIME = 1  # linux/timerfd.h


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.timerfd_settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def now_us() -> int:
    """The clock that timers run on: CLOCK_MONOTONIC."""
    return time.monotonic_ns() // 1_000


class TimerFd:
    """Calls back on the loop once each time it is armed; owns its file descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        """callback: must `arm` again, with a time or None, or it is called without end."""
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._fd = _check(_libc.timerfd_create(time.CLOCK_MONOTONIC, flags))
        self._loop = loop
        self._spec = _Itimerspec()
        self._spec_address = ctypes.addressof(self._spec)
        self._armed_us: int | None = None
        loop.add_reader(self._fd, self._on_readable, callback)

    def arm(self, when_us: int | None) -> None:
        """Fire at this time on `now_us`'s clock, at once if past; None = not at all."""
        if when_us == self._armed_us:
            return
        self._armed_us = when_us
        # All zero would disarm, so the least time is 1 us.
        seconds, microseconds = divmod(0 if when_us is None else max(1, when_us), 1_000_000)
        self._spec.value_s = seconds
        self._spec.value_ns = microseconds * 1_000
        # Setting the time also forgets that the timer fired, so the file need not be read.
        _check(_libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, self._spec_address, None))

    def close(self) -> None:
        """Stop and free the descriptor; may be called again."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _on_readable(self, callback: Callable[[], None]) -> None:
        self._armed_us = -1  # fired: the next `arm` must reach the kernel, whatever its time
        callback()
