"""Several engines under one set of handles, and which broadcasts and sockets are whose."""

from __future__ import annotations

from typing import Any

import pytest

from fastpath import Engine, EngineFullError, Media, PortKind
from fastpath.events import LinkUp, ViewerSwitched
from relay.config import NodeConfig
from relay.hkdf import Endpoint, link_key, session_key
from relay.placement import Placement
from relay.ports import ingest_workers
from relay.workers import Workers, worker_of

KEY, OTHER = bytes(range(16)), bytes(range(16, 32))


def engines(count: int) -> Workers:
    made = [
        Engine(streams=4, cursors=4, node_links=4, viewer_links=4, ports=4, slab_bytes=1 << 20)
        for _ in range(count)
    ]
    return Workers(made, {"streams": 4})


def add_stream(workers: Workers, worker: int, number: int) -> int:
    return workers.add_stream(
        stream_id=number, media=Media.VIDEO, first_stream_seq=0, upstream=None, worker=worker
    )


def test_handles_of_the_first_worker_are_its_engine_s() -> None:
    workers, engine = engines(2), engines(1).engines[0]
    assert workers.open_port(PortKind.OVERLAY) == engine.open_port(PortKind.OVERLAY)
    assert worker_of(workers.open_port(PortKind.OVERLAY, worker=1)) == 1


def test_what_belongs_to_two_workers_cannot_be_joined() -> None:
    workers = engines(2)
    ports = [workers.open_port(PortKind.OVERLAY, worker=worker) for worker in (0, 1)]
    links = [
        workers.add_link(
            port=port, address=("192.0.2.1", 7000), peer_node=2, hello_key=KEY, rate_bps=10**6
        )
        for port in ports
    ]
    stream = add_stream(workers, 1, 1)
    with pytest.raises(KeyError):
        workers.add_cursor(stream=stream, link=links[0])
    with pytest.raises(KeyError):
        workers.set_upstream(stream, links[0])
    assert worker_of(workers.add_cursor(stream=stream, link=links[1])) == 1
    with pytest.raises(KeyError):
        workers.link_stats(links[1] + (1 << 60))


def test_events_name_their_worker_s_link() -> None:
    """Two workers of one node speak to each other."""
    workers = engines(2)
    addresses = [("127.0.0.1", 7000), ("127.0.0.1", 7001)]
    ports = [workers.open_port(PortKind.OVERLAY, worker=worker) for worker in (0, 1)]
    links = [
        workers.add_link(
            port=ports[here],
            address=addresses[1 - here],
            peer_node=1,
            hello_key=KEY,
            rate_bps=10**9,
        )
        for here in (0, 1)
    ]
    keys = (KEY, OTHER)
    for here, link in enumerate(links):
        workers.offer_keys(link, receive_key=keys[here], send_key=keys[1 - here], send_now=True)
    waiting: list[list[Any]] = [[], []]
    for now_us in (1_000_000, 1_001_000, 1_002_000):
        for here, engine in enumerate(workers.engines):
            port = ports[here] & ((1 << 52) - 1)
            due = [(port, addresses[1 - here], data) for data in waiting[here]]
            waiting[here] = []
            waiting[1 - here] += [data for _, _, data in engine.turn(now_us, due)]
    up = {event.link for event in workers.events() if isinstance(event, LinkUp)}
    assert up == set(links)


def test_an_event_of_two_things_names_the_worker_in_both() -> None:
    workers = engines(2)
    port = workers.open_port(PortKind.VIEWER, worker=1)
    link = workers.add_viewer_link(rate_bps=10**7, worker=1)
    stream = add_stream(workers, 1, 1)
    cursor = workers.add_viewer_cursor(
        stream=stream,
        link=link,
        port=port,
        address=("192.0.2.1", 7000),
        ssrc=1,
        payload_type=96,
        first_sequence_number=0xFFFF,
    )
    workers.switch_viewer_cursor(cursor, stream=stream, payload_type=96)
    for engine in workers.engines:
        engine.turn(1_000_000, [])
    assert list(workers.events()) == [ViewerSwitched(cursor, stream)]


def test_the_node_s_limit_holds_for_all_workers_together() -> None:
    workers = engines(3)
    for number in range(4):
        add_stream(workers, number % 3, number + 1)
    with pytest.raises(EngineFullError, match="4"):
        add_stream(workers, 0, 9)
    assert workers.memory().streams == (4, 4)
    assert workers.memory().cursors == (0, 12)


def test_a_link_made_anew_has_keys_of_its_own() -> None:
    session = session_key(KEY, {1: KEY, 2: OTHER})
    ends = [Endpoint(node, worker) for node in (1, 2) for worker in (0, 1)]
    keys = {
        link_key(session, sender, receiver, generation)
        for sender in ends
        for receiver in ends
        if sender.node_id != receiver.node_id
        for generation in (0, 1, 2)
    }
    assert len(keys) == 8 * 3


def test_a_broadcast_goes_where_least_is_done_and_stays() -> None:
    workers = engines(3)
    placement = Placement(workers, {"here": 2})
    assert placement.home("here") == 2
    assert [placement.home(name) for name in "abc"] == [0, 1, 2]
    assert [placement.home(name) for name in "cab"] == [2, 0, 1]
    placement.forget("b")
    assert placement.home("d") == 1
    assert placement.set_home("a", 2) == placement.home("a") == 2
    assert placement.home("e") == 0
    assert placement.least_loaded({0}) == 1


def test_ingests_that_share_a_socket_are_in_one_worker() -> None:
    def ingest(name: str, port: int, payload_type: int) -> dict[str, Any]:
        track = {"kind": "video", "codec": "H264", "clock_rate": 90_000}
        listen = {"listen": f"127.0.0.1:{port}", "payload_type": payload_type}
        return {"name": name, "tracks": [track | listen]}

    ingests = [ingest("a", 5000, 96), ingest("b", 5002, 96), ingest("c", 5000, 97)]
    ingests += [ingest("d", 5004, 96)]
    config = {"name": "n", "node_id": 1, "listen": "127.0.0.1:7000", "ingests": ingests}
    found = ingest_workers(NodeConfig.model_validate(config | {"workers": 2}))
    assert found["a"] == found["c"]
    assert sorted((found["a"], found["b"], found["d"])) in ([0, 0, 1], [0, 1, 1])
    assert set(ingest_workers(NodeConfig.model_validate(config)).values()) == {0}


def test_ingests_that_share_a_socket_through_others_are_in_one_worker() -> None:
    def tracks(*ports: int) -> list[dict[str, Any]]:
        kinds = ({"kind": "video", "codec": "H264"}, {"kind": "audio", "codec": "opus"})
        return [
            {**kind, "clock_rate": 48_000, "listen": f"127.0.0.1:{port}", "rtcp": "mux"}
            for kind, port in zip(kinds, ports, strict=True)
        ]

    made = {"a": (5000, 5002), "b": (5004, 5006), "c": (5008, 5010), "d": (5006, 5002)}
    ingests: list[dict[str, Any]] = [
        {"name": name, "tracks": tracks(*ports)} for name, ports in made.items()
    ]
    for number, ingest in enumerate(ingests):
        for at, track in enumerate(ingest["tracks"]):
            track["payload_type"] = 96 + 2 * number + at
    config = {"name": "n", "node_id": 1, "listen": "127.0.0.1:7000", "ingests": ingests}
    found = ingest_workers(NodeConfig.model_validate(config | {"workers": 2}))
    assert found["a"] == found["b"] == found["d"] != found["c"]
