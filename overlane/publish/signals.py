"""SIGINT, SIGTERM and SIGHUP as a request to stop, for the time a client runs."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.signals import stop_signals


@contextmanager
def stop_on_signals(stop: asyncio.Event, *, enabled: bool = True) -> Iterator[None]:
    """Sets `stop` on any of them; restores the earlier handlers. Nothing outside the main thread,
    where Python delivers no signals."""
    with call_on_signals(lambda _: stop.set(), enabled=enabled):
        yield


@contextmanager
def call_on_signals(
    callback: Callable[[signal.Signals], object], *, enabled: bool = True
) -> Iterator[None]:
    """The same with a function, called in the running loop."""
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    earlier = {number: signal.getsignal(number) for number in stop_signals()}
    for number in earlier:
        loop.add_signal_handler(number, callback, number)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
