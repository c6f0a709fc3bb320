"""UDP sockets for emulated paths: large buffers, non-blocking, and what the kernel dropped."""

from __future__ import annotations

import ipaddress
import socket
import struct

from lab.errors import AddressError

Address = tuple[str, int]

SOCKET_BUFFER_BYTES = 8 << 20  # 64 ms at 1 Gbit/s while the loop is busy elsewhere (our choice)
MAX_READS_PER_WAKEUP = 64  # about 0.2 ms, so that deliveries stay on time (our choice)
MAX_DATAGRAM_BYTES = 65_536

_SO_SNDBUFFORCE = 32  # asm-generic/socket.h; not in Python's socket module, like the next two
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_SK_MEMINFO_DROPS = 8  # linux/sock_diag.h: index among 9 values of 32 bits


def open_socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        _grow_buffer(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF)
        _grow_buffer(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF)
        sock.bind((host, 0))
    except OSError:
        sock.close()
        raise
    return sock


def _grow_buffer(sock: socket.socket, forced: int, limited: int) -> None:
    """Ask for the full size as root may, or for as much as the host's limit allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, forced, SOCKET_BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, limited, SOCKET_BUFFER_BYTES)


def kernel_drops(sock: socket.socket) -> int:
    values = struct.unpack("=9I", sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))
    return int(values[_SK_MEMINFO_DROPS])


def check_address(address: Address | None) -> Address | None:
    """Source addresses are compared as the kernel writes them, so a name would never match."""
    if address is None:
        return None
    host, port = address
    try:
        canonical = str(ipaddress.IPv4Address(host))
    except ipaddress.AddressValueError:
        raise AddressError(f"{host!r} is not a numeric IPv4 address") from None
    if not 0 < port < 65_536:
        raise AddressError(f"{port} is not a UDP port")
    return (canonical, port)
