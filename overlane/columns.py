"""Tables that fit 80 columns, and the figures in them."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.table import Table


def new_table(*columns: str, right: Iterable[str] = ()) -> Table:
    """Without lines between columns; numbers to the right, never folded."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in columns:
        is_number = name in right
        table.add_column(
            name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    return table


def ms(time_us: int | None) -> str:
    """Milliseconds, "-" for what is not known."""
    return "-" if time_us is None else f"{time_us / 1000:.1f} ms"


def percent(share: float | None) -> str:
    """Of one."""
    return "-" if share is None else f"{share * 100:.2f} %"


def count(number: int | None) -> str:
    """With separators."""
    return "-" if number is None else f"{number:,}"
