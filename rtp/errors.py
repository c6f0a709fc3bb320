"""Errors of this package: bad bytes from outside, and our own misuse."""

from enum import Enum


class ParseErrorKind(Enum):
    """Why bytes were refused; the value is fit for the name of a counter."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    BAD_VERSION = "bad_version"
    CSRC_TRUNCATED = "csrc_truncated"
    EXTENSION_TRUNCATED = "extension_truncated"
    BAD_PADDING = "bad_padding"
    LENGTH_MISMATCH = "length_mismatch"
    WRONG_PACKET_TYPE = "wrong_packet_type"
    BAD_SDES = "bad_sdes"
    UNSUPPORTED_NAL_TYPE = "unsupported_nal_type"
    EMPTY_NAL = "empty_nal"
    TRUNCATED_AGGREGATE = "truncated_aggregate"
    TRUNCATED_FRAGMENT = "truncated_fragment"
    FRAGMENT_WITHOUT_START = "fragment_without_start"
    FRAGMENT_UNFINISHED = "fragment_unfinished"
    NO_START_CODE = "no_start_code"
    NO_PAYLOAD = "no_payload"
    BAD_BASE64 = "bad_base64"
    NO_PARAMETER_SET = "no_parameter_set"


class RtpError(Exception):
    """Base of what this package raises."""


class RtpParseError(RtpError):
    """Bytes that are not what they should be. offset: where in the input it showed, in bytes."""

    def __init__(self, kind: ParseErrorKind, offset: int) -> None:
        super().__init__(f"{kind.value} at byte {offset}")
        self.kind = kind
        self.offset = offset


class RtpValueError(RtpError, ValueError):
    """A caller passed a value the wire format cannot hold."""


class SdpError(RtpError):
    """A session description that cannot be used. line: 1 is the first."""

    def __init__(self, line: int, expected: str) -> None:
        super().__init__(f"line {line}: expected {expected}")
        self.line = line
        self.expected = expected
