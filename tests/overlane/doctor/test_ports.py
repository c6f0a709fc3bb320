"""Ports and routes: real sockets that take them, and addresses that lead nowhere."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Literal

import pytest

from overlane.doctor.check import Host, Verdict
from overlane.doctor.ports import WantedSocket, check_ports, holder_of, kernel_address
from overlane.doctor.routes import Peer, check_routes

Transport = Literal["UDP", "TCP"]
KINDS: list[tuple[Transport, int]] = [("UDP", socket.SOCK_DGRAM), ("TCP", socket.SOCK_STREAM)]


@pytest.mark.parametrize(("transport", "kind"), KINDS)
@pytest.mark.parametrize("held_at", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_taken_port_names_who_has_it(transport: Transport, kind: int, held_at: str) -> None:
    family = socket.AF_INET6 if ":" in held_at else socket.AF_INET
    with socket.socket(family, kind) as held:
        held.bind((held_at, 0))
        if transport == "TCP":
            held.listen()
        address = ("127.0.0.1", held.getsockname()[1])
        wanted = WantedSocket("listen", transport, address)
        (taken,) = check_ports([wanted], Host(), None)
        (known,) = check_ports([wanted], Host(), "the running node")
    (free,) = check_ports([wanted], Host(), None)

    assert taken.verdict is Verdict.PROBLEM
    assert f"pid {os.getpid()} (" in taken.found
    assert taken.mend == "stop it, or give listen another port"
    assert (known.verdict, known.found) == (Verdict.OK, "held by the running node")
    assert (free.verdict, free.found) == (Verdict.OK, "free")


def test_a_holder_that_may_not_be_looked_into_is_told_by_its_user(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    line = (
        "  5: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000  1234 0 777 2"
    )
    (tmp_path / "net" / "udp").write_text(f"header\n{line}\nnot a socket\n")
    wanted = WantedSocket("listen", "UDP", ("0.0.0.0", 8080))
    assert "a process of user 1234" in str(holder_of(wanted, Host(tmp_path)))
    assert holder_of(WantedSocket("x", "UDP", ("127.0.0.2", 8080)), Host(tmp_path)) is None
    assert holder_of(WantedSocket("x", "TCP", ("127.0.0.1", 8080)), Host(tmp_path)) is None


def test_addresses_as_the_kernel_writes_them() -> None:
    assert kernel_address("0100007F:1F90") == ("127.0.0.1", 8080)
    assert kernel_address("B80D0120000000000000000001000000:0035") == ("2001:db8::1", 53)


def test_an_address_that_is_not_here_and_a_port_that_is_drawn() -> None:
    elsewhere, drawn = check_ports(
        [
            WantedSocket("listen", "UDP", ("192.0.2.77", 7000)),
            WantedSocket("viewers.listen", "UDP", ("127.0.0.1", 0)),
        ],
        Host(),
        None,
    )
    assert elsewhere.verdict is Verdict.PROBLEM
    assert elsewhere.found.startswith("cannot bind UDP 192.0.2.77:7000")
    assert elsewhere.mend.startswith("this host has no such address")
    assert drawn.found == "free: any port will do"


def test_a_privileged_port_is_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / "sys/net/ipv4"
    path.mkdir(parents=True)
    (path / "ip_unprivileged_port_start").write_text("65535\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    wanted = WantedSocket("listen", "UDP", ("127.0.0.1", port))
    (check,) = check_ports([wanted], Host(tmp_path), None)
    assert check.verdict is Verdict.WARNING
    assert "CAP_NET_BIND_SERVICE" in check.mend


# -- routes


def test_a_neighbour_on_this_host_has_a_route() -> None:
    peer = Peer("tokyo", ("127.0.0.1", 7000), "configuration")
    (unproven,) = check_routes([peer], ("0.0.0.0", 7000), {})
    (up,) = check_routes([peer], ("0.0.0.0", 7000), {"tokyo": {"is_up": True, "rtt_us": 71_234}})
    link = {"is_up": False, "handshake": "waiting"}
    (down,) = check_routes([peer], ("0.0.0.0", 7000), {"tokyo": link})

    assert unproven.verdict is Verdict.OK
    assert unproven.found.startswith("127.0.0.1:7000 from 127.0.0.1, MTU ")
    assert unproven.found.endswith("unproven: no node runs here")
    assert up.found.endswith("its link is up, rtt 71.2 ms")
    assert down.verdict is Verdict.WARNING
    assert "its link is down (handshake: waiting)" in down.found


def test_neighbours_that_cannot_be_reached_say_why() -> None:
    far = Peer("tokyo", ("203.0.113.30", 7000), "stored table")
    (loopback,) = check_routes([far], ("127.0.0.1", 7000), {})
    (foreign,) = check_routes([far], ("192.0.2.77", 7000), {})
    (broadcast,) = check_routes(
        [Peer("all", ("255.255.255.255", 7000), "x")], ("0.0.0.0", 7000), {}
    )
    assert loopback.verdict is Verdict.PROBLEM
    assert "reaches this host only" in loopback.mend
    assert "this host has no address 192.0.2.77" in foreign.mend
    assert broadcast.verdict is Verdict.PROBLEM
