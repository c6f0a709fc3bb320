"""What a fuzz target is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """run: takes any bytes and raises only when a promise is broken. seeds: valid inputs.

    is_story: inputs are `tests.fuzz.records`. traced: Python modules, by the beginning of their
    names, whose lines guide the search; native code always does.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    is_story: bool = False
    traced: tuple[str, ...] = ()
    most_bytes: int = 2000
