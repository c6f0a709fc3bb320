"""What the control channel raises. Bytes from the other side never raise past a session."""

from enum import StrEnum


class ControlClientError(Exception):
    """Base of all errors of this package; its text is one line an operator can act on."""


class ControlMessageError(ControlClientError):
    """A message that is not one of the schema, or not within its limits.

    message: the message's name, "" if there is none to tell. field: where in it, "" for the whole.
    reason: what is there or missing, and what is allowed.
    """

    def __init__(self, message: str, field: str, reason: str) -> None:
        self.message = message
        self.field = field
        self.reason = reason
        place = ".".join(part for part in (message, field) if part)
        super().__init__(f"{place}: {reason}" if place else reason)


class NotAMessageError(ControlMessageError):
    """Bytes that no version of the schema would send."""


class SchemaVersionError(ControlMessageError):
    """A message of a schema that is not spoken here. It may be perfectly good."""

    def __init__(self, version: int, lowest: int, highest: int) -> None:
        self.version = version
        self.is_too_new = version > highest
        age = "newer" if self.is_too_new else "older"
        spoken = str(lowest) if lowest == highest else f"{lowest} to {highest}"
        text = f"control schema {version} is {age} than what is spoken here ({spoken})"
        super().__init__("", "", text)


class UnknownMessageError(ControlMessageError):
    """A well-formed message of a kind that the schema does not have, or not in this direction."""


class MessageTooLargeError(ControlMessageError):
    """More bytes than a message may have."""


class TableError(ControlClientError):
    """A table that contradicts itself, or a change that does not fit the table it is made to."""


class TableFileError(ControlClientError):
    """The stored table cannot be used or written."""


class CertificateError(ControlClientError):
    """A certificate or key that cannot be made or used."""


class ConnectionConfigError(ControlClientError):
    """A brain's URL or TLS settings that this node must not or cannot use."""


class RefusalCode(StrEnum):
    """Why one side ends a connection: the word in Refusal. Peers may know others."""

    UNKNOWN_NODE = "unknown_node"
    BAD_TOKEN = "bad_token"
    NAME_TAKEN = "name_taken"
    SCHEMA_TOO_NEW = "schema_too_new"
    SCHEMA_TOO_OLD = "schema_too_old"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNEXPECTED = "unexpected"
    TERM_BEHIND = "term_behind"
    REPLACED = "replaced"
    TIME_OUT = "time_out"
    OVERLOADED = "overloaded"
    WRONG_NODE_ID = "wrong_node_id"


class RequestCode(StrEnum):
    """Why a request (AskPath, AnnounceStream) was not met."""

    NO_SUCH_STREAM = "no_such_stream"
    NO_PATH = "no_path"
    NAME_TAKEN = "name_taken"
    FULL = "full"
    NOT_READY = "not_ready"
    TIME_OUT = "time_out"


class TableRefusalCode(StrEnum):
    """Why a node did not apply a table."""

    STALE = "stale"
    WRONG_BASE = "wrong_base"
    INVALID = "invalid"
    NO_ROOM = "no_room"
