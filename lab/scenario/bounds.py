"""What a figure is compared with: "<= 1000"."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
_BOUND = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*([+-]?\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*")


@dataclass(frozen=True, slots=True)
class Bound:
    """An operator and a number."""

    relation: str
    number: float

    def holds(self, figure: float) -> bool:
        """Whether the figure keeps to it."""
        return _COMPARE[self.relation](figure, self.number)

    def worst(self, figures: list[float]) -> float:
        """The figure that breaks it, or is nearest to that. figures: at least one."""
        if self.relation in ("<=", "<"):
            return max(figures)
        if self.relation in (">=", ">"):
            return min(figures)
        return next((figure for figure in figures if not self.holds(figure)), figures[0])


def parse_bound(text: str) -> Bound:
    """Raises ValueError."""
    match = _BOUND.fullmatch(text)
    if match is None:
        raise ValueError(
            f"must be a comparison and a number, such as '<= 1000' "
            f"(one of {', '.join(_COMPARE)}); found {text!r}"
        )
    return Bound(match[1], float(match[2].replace("_", "")))
