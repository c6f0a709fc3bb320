from rtp.errors import ParseErrorKind

def parse(
    data: bytes | bytearray | memoryview,
) -> tuple[int, bool, int, int, int, int, int] | ParseErrorKind:
    """`parse_rtp_header` for tests: the fields of `rtp_header_t` in order, or why not."""

def looks_like_rtcp(data: bytes | bytearray | memoryview) -> bool:
    """`is_rtcp`: RFC 5761 4."""
