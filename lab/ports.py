"""Free ports on loopback for the servers of a lab.

They are taken from below the kernel's ephemeral range, so that no client socket of the same run
takes one between the moment it was found free and the moment its server binds it.
"""

import random
import socket

from lab.errors import LabError

FIRST_PORT = 20_000
LAST_PORT = 32_000  # Linux hands out 32768 and up by default (ip(7), ip_local_port_range)


class NoPortError(LabError):
    """No free port was found."""


def free_ports(count: int, rng: random.Random) -> list[int]:
    """Different ports free for UDP and TCP on 127.0.0.1 at this moment."""
    found: list[int] = []
    for _ in range(100 * count):
        port = rng.randrange(FIRST_PORT, LAST_PORT)
        if port not in found and _is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise NoPortError(f"no {count} free ports between {FIRST_PORT} and {LAST_PORT} on 127.0.0.1")


def free_pairs(count: int, rng: random.Random) -> list[int]:
    """Even ports that are free, and whose next ones are: RTP with its RTCP (RFC 3550 11)."""
    found: list[int] = []
    for _ in range(100 * count):
        port = rng.randrange(FIRST_PORT, LAST_PORT, 2)
        if port not in found and _is_free(port) and _is_free(port + 1):
            found.append(port)
            if len(found) == count:
                return found
    raise NoPortError(f"no {count} free pairs between {FIRST_PORT} and {LAST_PORT} on 127.0.0.1")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
