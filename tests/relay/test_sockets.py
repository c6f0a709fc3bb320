"""Sockets that cannot be had: one line that says what to do, and nothing left open."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from relay.config import NodeConfig
from relay.errors import SocketError
from relay.sockets import open_sockets
from service.http_server import bind_error
from service.log import get_logger

REASONS = [
    (errno.EADDRINUSE, "Address already in use; find who has it with: ss -ulnp 'sport = :80'"),
    (errno.EADDRNOTAVAIL, "Cannot assign requested address; this host has no such address"),
    (errno.EACCES, "Permission denied; port 80 needs CAP_NET_BIND_SERVICE; choose one above 1023"),
    (errno.EAFNOSUPPORT, "Address family not supported by protocol; this kernel has no IPv6"),
    (errno.EMFILE, "Too many open files; raise the limit on open files"),
    (errno.EIO, "Input/output error"),
]


@pytest.mark.parametrize(("number", "expected"), REASONS)
def test_each_reason_says_what_to_do(number: int, expected: str) -> None:
    # asyncio wraps the reason into a text of its own: the number decides.
    error = bind_error("listen", "UDP", ("192.0.2.1", 80), OSError(number, "wrapped"))
    assert str(error).startswith(f"listen: cannot bind UDP 192.0.2.1:80: {expected}")
    assert "\n" not in str(error)


def test_a_socket_that_fails_closes_those_before_it() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        track = {"kind": "audio", "codec": "opus", "payload_type": 111, "clock_rate": 48_000}
        taken = f"127.0.0.1:{busy.getsockname()[1]}"
        config = NodeConfig.model_validate(
            {
                "name": "a",
                "node_id": 1,
                "listen": f"127.0.0.2:{busy.getsockname()[1]}",
                "viewers": {"listen": "127.0.0.1:0"},
                "ingests": [{"name": "s", "tracks": [{**track, "listen": taken}]}],
            }
        )
        before = sorted(os.listdir("/proc/self/fd"))
        with pytest.raises(
            SocketError, match=r"^ingests\[0\]\.tracks\[0\]\.listen: cannot bind UDP"
        ):
            open_sockets(config, get_logger(node="a"))
        assert sorted(os.listdir("/proc/self/fd")) == before
