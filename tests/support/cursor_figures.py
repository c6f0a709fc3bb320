"""A cursor's figures, where only some of them matter."""

from dataclasses import MISSING, fields

from fastpath.stats import CursorStats

NOTHING_SENT = CursorStats(
    **{field.name: 0 for field in fields(CursorStats) if field.default is MISSING}  # type: ignore[arg-type]
)
