# All for tests: the native functions of `walk.pxd` as Python can call them. Readers look at the
# first packet of the datagram; writers fill `out`, which must have the room, and return the bytes.
from collections.abc import Sequence

_Bytes = bytes | bytearray | memoryview
_Writable = bytearray | memoryview
_Block = tuple[int, int, int, int, int, int, int]

def packets(data: _Bytes) -> tuple[list[tuple[int, int, bytes]], bool]:
    """`rtcp_next` until it stops: (type, count, body) of each packet, and whether that was the end."""

def is_whole(data: _Bytes) -> bool:
    """`rtcp_is_whole`."""

def sender_report(data: _Bytes) -> tuple[int, int, int, int, int] | None:
    """The fields of `sender_info_t` in order."""

def block_count(data: _Bytes) -> int:
    """`report_blocks`."""

def block_at(data: _Bytes, index: int) -> _Block | None:
    """The fields of `report_block_t` in order."""

def feedback(data: _Bytes) -> tuple[int, int, bytes] | None:
    """sender_ssrc, media_ssrc, fci."""

def put_sender_report(
    out: _Writable, ssrc: int, ntp: int, timestamp: int, packet_count: int, octet_count: int
) -> int:
    """`write_sender_report`."""

def put_receiver_report(out: _Writable, ssrc: int, fields: _Block | None) -> int:
    """`write_receiver_report`."""

def put_cname(out: _Writable, ssrc: int, cname: bytes) -> int:
    """`write_cname`."""

def put_pli(out: _Writable, sender_ssrc: int, media_ssrc: int) -> int:
    """`write_pli`."""

def put_nack(out: _Writable, sender_ssrc: int, media_ssrc: int, numbers: Sequence[int]) -> int:
    """`write_nack`."""

def constants() -> dict[str, int]:
    """The numbers of `walk.pxd` by their names in `rtp.constants`."""
