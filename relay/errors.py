"""What this package raises. Bytes from the network never raise past the core: it counts them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class RelayError(Exception):
    """Base of all errors of the node daemon; its text is one line an operator can act on."""


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


class ConfigError(RelayError):
    """A configuration cannot be used. Lists every problem that was found, not the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class SocketError(RelayError):
    """A socket could not be opened or bound."""


class MessageError(RelayError):
    """A control message that does not parse or is larger than a link carries."""


class RefusalCode(StrEnum):
    """Why a subscription or a viewer was refused: the word is what ERROR carries on the wire."""

    NO_SUCH_STREAM = "no_such_stream"
    NO_PATH = "no_path"
    LOOP = "loop"
    FULL = "full"
    TIME_OUT = "time_out"
    UNSUPPORTED = "unsupported"
    BAD_REQUEST = "bad_request"


class Refused(RelayError):  # noqa: N818  an expected answer to a viewer, not a failure of the node
    """A viewer cannot be served. field: the key of the request that is at fault, if one is."""

    def __init__(self, code: RefusalCode, text: str, field: str | None = None) -> None:
        self.code = code
        self.field = field
        super().__init__(text)
