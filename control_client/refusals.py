"""Why a connection is closed, as the message and as the WebSocket close code (RFC 6455 7.4.1)."""

from control_client.errors import (
    ControlMessageError,
    MessageTooLargeError,
    RefusalCode,
    SchemaVersionError,
)
from control_client.messages import Refusal

NORMAL = 1000
GOING_AWAY = 1001
_CLOSE_CODES = {
    RefusalCode.UNEXPECTED: 1002,
    RefusalCode.MALFORMED: 1007,
    RefusalCode.TOO_LARGE: 1009,
    RefusalCode.OVERLOADED: 1013,
}
_POLICY_VIOLATION = 1008
MAX_TEXT = 300


def refusal(code: RefusalCode, text: str) -> Refusal:
    """text: any; made to fit the message's one line."""
    line = "".join(c if c.isprintable() else "?" for c in text)
    return Refusal(code.value, line[:MAX_TEXT])


def refusal_of(error: ControlMessageError) -> Refusal:
    """Of a message that cannot be taken."""
    match error:
        case SchemaVersionError(is_too_new=True):
            code = RefusalCode.SCHEMA_TOO_NEW
        case SchemaVersionError():
            code = RefusalCode.SCHEMA_TOO_OLD
        case MessageTooLargeError():
            code = RefusalCode.TOO_LARGE
        case _:
            code = RefusalCode.MALFORMED
    return refusal(code, str(error))


def close_code(refusal: Refusal) -> int:
    """The WebSocket close code that goes with it."""
    try:
        return _CLOSE_CODES.get(RefusalCode(refusal.code), _POLICY_VIOLATION)
    except ValueError:
        return _POLICY_VIOLATION
