"""Memory that ends where the input ends: reading past it ends the process, on any build."""

from __future__ import annotations

from tests.rtp.guarded_page import PAGE, GuardedPage

_GUARDED = GuardedPage()


def exact(data: bytes) -> memoryview:
    """The same bytes before a page without access, until the next call; longer ones as they are."""
    return _GUARDED.place(data) if len(data) <= PAGE else memoryview(data)
