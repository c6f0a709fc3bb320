"""Where viewers may be served: not at this node's own sockets, under whichever of its addresses."""

from __future__ import annotations

import pytest

from relay.config import NodeConfig
from relay.edge.destinations import check_destination
from service.address import parse_address

TRACK = {"kind": "video", "codec": "H264", "payload_type": 96, "clock_rate": 90_000}


def config(host: str) -> NodeConfig:
    return NodeConfig.model_validate(
        {
            "name": "node",
            "node_id": 1,
            "listen": f"{host}:7000",
            "viewers": {"listen": f"{host}:7002"},
            "ingests": [{"name": "demo", "tracks": [TRACK | {"listen": f"{host}:5104"}]}],
        }
    )


@pytest.mark.parametrize("port", [7000, 7002, 5104, 5105])
@pytest.mark.parametrize(
    ("listen", "viewer"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.2"),
    ],
)
def test_an_own_socket_is_no_viewer(listen: str, viewer: str, port: int) -> None:
    with pytest.raises(ValueError, match="is a socket of this node itself"):
        check_destination(parse_address(f"{viewer}:{port}"), config(listen))


@pytest.mark.parametrize(
    ("listen", "viewer"),
    [
        ("127.0.0.1", "127.0.0.2:5104"),
        ("127.0.0.1", "127.0.0.1:5103"),
        ("0.0.0.0", "127.0.0.1:5103"),
        ("0.0.0.0", "192.0.2.1:5104"),
        ("[::]", "[2001:db8::1]:5104"),
    ],
)
def test_another_host_or_port_is_one(listen: str, viewer: str) -> None:
    check_destination(parse_address(viewer), config(listen))
