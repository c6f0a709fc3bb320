"""Sockets on loopback, in a network namespace of our own where we may have one."""

from __future__ import annotations

import errno
import socket

from bench.support.native import BenchError, native

SOCKET_BYTES = 16 << 20  # rides out some milliseconds in which another process has the core
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
SOL_UDP, UDP_GRO = 17, 104
Address = tuple[str, int]


def enter_private_network() -> bool:
    """Whether the calling thread, and those it starts later, now have a network of their own."""
    result = native().lib.bench_private_network()
    if result == -errno.EPERM:
        return False
    if result < 0:
        raise BenchError(f"network namespace without loopback: {errno.errorcode[-result]}")
    return True


def udp_socket(*, gro: bool = False) -> socket.socket:
    """Buffers of SOCKET_BYTES each way, or as near as the host allows."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for forced, plain in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            made.setsockopt(socket.SOL_SOCKET, forced, SOCKET_BYTES)
        except PermissionError:
            made.setsockopt(socket.SOL_SOCKET, plain, SOCKET_BYTES)
    if gro:
        made.setsockopt(SOL_UDP, UDP_GRO, 1)
    made.bind(("127.0.0.1", 0))
    return made


def receive_buffer_bytes(one: socket.socket) -> int:
    """What the kernel granted (it doubles what was asked for, to cover its own overhead)."""
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
