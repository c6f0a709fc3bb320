"""A network of one's own, or the host's: never one in which nothing can be sent."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

SEND = (
    "from bench.support.network import enter_private_network, udp_socket\n"
    "is_private = enter_private_network()\n"
    "with udp_socket() as one, udp_socket() as other:\n"
    "    other.settimeout(5)\n"
    "    one.sendto(b'here', other.getsockname())\n"
    "    print(is_private, other.recv(9).decode())\n"
)


def without(*capabilities: str) -> str:
    """What a root without these capabilities says that sends itself a datagram."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("only root can drop capabilities one by one, and setpriv does it")
    dropped = ",".join(f"-{name}" for name in capabilities)
    done = subprocess.run(
        [
            *(setpriv, f"--inh-caps={dropped}", f"--bounding-set={dropped}"),
            *(sys.executable, "-c", SEND),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr.startswith("setpriv:"):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_any_right_it_is_the_hosts() -> None:
    assert without("net_admin", "sys_admin") == "False here"


def test_a_network_whose_loopback_cannot_be_set_up_is_left() -> None:
    """As in a container that may make namespaces and not configure them."""
    assert without("net_admin") == "False here"
