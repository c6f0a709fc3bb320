"""Datagrams to many destinations, laid out once and sent 200 a system call (sendmmsg(2)).

The call leaves Python's lock alone, so a thread that floods takes little from the others.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Sequence

Address = tuple[str, int]
_LIBC = ctypes.CDLL(None, use_errno=True)


class _SockaddrIn(ctypes.Structure):
    _fields_ = (
        ("family", ctypes.c_uint16),
        ("port", ctypes.c_uint16),
        ("host", ctypes.c_ubyte * 4),
        ("zero", ctypes.c_ubyte * 8),
    )


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("sent", ctypes.c_uint))


class Volley:
    """Packets that leave one socket in turn, again and again."""

    def __init__(self, packets: Sequence[tuple[bytes, Address]]) -> None:
        count = len(packets)
        self._data = ctypes.create_string_buffer(b"".join(data for data, _ in packets))
        self._names = (_SockaddrIn * count)()
        self._parts = (_Iovec * count)()
        self._messages = (_Mmsghdr * count)()
        self._next = 0
        at = ctypes.addressof(self._data)
        names, parts = ctypes.addressof(self._names), ctypes.addressof(self._parts)
        for i, (data, (host, port)) in enumerate(packets):
            self._names[i].family = socket.AF_INET
            self._names[i].port = socket.htons(port)
            self._names[i].host[:] = socket.inet_aton(host)
            self._parts[i].base, self._parts[i].length = at, len(data)
            header = self._messages[i].header
            header.name = names + i * ctypes.sizeof(_SockaddrIn)
            header.name_bytes = ctypes.sizeof(_SockaddrIn)
            header.parts = parts + i * ctypes.sizeof(_Iovec)
            header.part_count = 1
            at += len(data)

    def send(self, fd: int, count: int) -> range:
        """The next `count`, or up to the last one; which of them the kernel took."""
        first = self._next
        count = min(count, len(self._messages) - first)
        sent = _LIBC.sendmmsg(
            fd, ctypes.byref(self._messages, first * ctypes.sizeof(_Mmsghdr)), count, 0
        )
        if sent < 0:
            error = ctypes.get_errno()
            if error not in (11, 105):  # EAGAIN, ENOBUFS: the kernel has no room now
                raise OSError(error, os.strerror(error))
            sent = 0
        self._next = (first + sent) % len(self._messages)
        return range(first, first + sent)
