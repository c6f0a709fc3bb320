"""What this package raises. Bytes from the network never raise past the core: it counts them."""

from enum import StrEnum


class RelayError(Exception):
    """Base of all errors of the node daemon; its text is one line an operator can act on."""


class SocketError(RelayError):
    """A socket could not be opened or bound."""


class WorkerError(RelayError):
    """A worker could not be made or started."""


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
