"""What this package raises: what an operator has to mend."""

from collections.abc import Iterable
from dataclasses import dataclass


class ServiceError(Exception):
    """Base of all errors here; its text is one line a problem."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration: the key path (`neighbours[0].secret`) and why.

    source: "FILE:LINE", "environment VARIABLE" or "--set KEY".
    """

    key: str
    text: str
    source: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.key, self.text) if part)


class ConfigError(ServiceError):
    """A configuration cannot be used. Lists every problem that was found, not the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class BindError(ServiceError):
    """A port that cannot be had."""
