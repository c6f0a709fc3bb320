"""Rate control over whole nodes in virtual time: what the API and the configuration switch on."""

from __future__ import annotations

import itertools

from prometheus_client import CollectorRegistry

from control_client.messages import Neighbour
from relay.edge.plain_rtp import Extensions, RtcpMode
from relay.series import exposition
from relay.status import node_status, viewer_status
from rtp.rtcp.compound import serialise_compound
from rtp.rtcp.receiver_report import ReceiverReport
from rtp.rtcp.transport_feedback import TransportFeedback, build_transport_feedback
from tests.relay.encoder import Encoder
from tests.relay.overlay import AUDIO_VIEWER, VIEWER, Overlay, Running, config_of, demo_ingest

GCC = {"node_links": {"controller": "gcc", "start_bps": 5_000_000}}
TRANSPORT_CC_ID, DELAY_ID = 3, 14


def pair(overlay: Overlay, **parts: object) -> tuple[Running, Running]:
    """a - b, with `demo` at a."""
    overlay.connect(1, 2)
    a = overlay.start(config_of("a", 1, {"b": 2}, ingests=demo_ingest(1), **parts))
    paths = [{"stream": "*", "via": ["a"]}]
    b = overlay.start(config_of("b", 2, {"a": 1}, paths=paths, **parts))
    overlay.run_for(1_000_000)
    return a, b


def neighbour_of(running: Running, overlay: Overlay) -> dict[str, object]:
    found = node_status(running.node, 0, None, overlay.now_us)["neighbours"]
    assert isinstance(found, list)
    neighbour: dict[str, object] = found[0]
    return neighbour


def test_a_link_is_measured_if_it_is_configured_so() -> None:
    overlay = Overlay()
    a, b = pair(overlay, rate=GCC)
    b.node.add_viewer("demo", {"video": VIEWER}, overlay.now_us)
    Encoder(overlay, "a").run_for(3_000_000)
    shown = neighbour_of(a, overlay)
    assert shown["rate_bps"] == 100_000_000
    assert 0 < int(str(shown["acked_bps"])) < 5_000_000
    assert int(str(shown["feedbacks"])) > 20
    assert int(str(shown["target_bps"])) < 100_000_000
    text = "".join(exposition(a.node, CollectorRegistry()))
    assert f'overlane_link_target_bps{{neighbour="b"}} {float(str(shown["target_bps"]))}' in text
    assert "overlane_link_feedbacks_total" in text


def test_another_rate_of_a_link_is_where_it_begins_when_it_comes_back() -> None:
    """Where nothing says otherwise, a link begins at its rate."""
    overlay = Overlay()
    overlay.connect(1, 2)
    running = [
        overlay.start(config_of(name, n, {}, rate={"node_links": {"controller": "gcc"}}))
        for n, name in ((1, "a"), (2, "b"))
    ]
    for rate_bps in (10_000_000, 90_000_000):
        entries = [
            Neighbour(name, n, f"10.0.0.{n}:7000", bytes(32), rate_bps)
            for n, name in ((2, "b"), (1, "a"))
        ]
        for each, entry in zip(running, entries, strict=True):
            each.node.set_neighbours([entry], overlay.now_us)
        overlay.run_for(500_000)
        overlay.cut(1, 2)
        overlay.run_for(500_000)
        overlay.mend(1, 2)
        overlay.run_for(1_000_000)
        shown = neighbour_of(running[0], overlay)
        assert (shown["is_up"], shown["target_bps"]) == (True, rate_bps)


def test_a_link_is_paced_at_its_rate_unless() -> None:
    overlay = Overlay()
    a, b = pair(overlay)
    b.node.add_viewer("demo", {"video": VIEWER}, overlay.now_us)
    Encoder(overlay, "a").run_for(1_000_000)
    shown = neighbour_of(a, overlay)
    assert (shown["target_bps"], shown["pacing_bps"]) == (100_000_000, 100_000_000)
    assert (shown["feedbacks"], shown["acked_bps"]) == (0, 0)


def test_a_viewer_with_transport_feedback_has_gcc() -> None:
    """Its numbers are across both tracks; the delay is that of the way from the producer."""
    overlay = Overlay()
    _, b = pair(overlay)
    viewer = b.node.add_viewer(
        "demo",
        {"video": VIEWER},
        overlay.now_us,
        extensions=Extensions(TRANSPORT_CC_ID, DELAY_ID),
    )
    encoder = Encoder(overlay, "a")
    encoder.run_for(1_000_000)
    packets = [data for _, to, data in overlay.received if to == VIEWER]
    assert all(data[12:16] == b"\xbe\xde\x00\x02" for data in packets)
    assert all(data[16] == TRANSPORT_CC_ID << 4 | 1 for data in packets)
    assert all(data[19] == DELAY_ID << 4 | 1 for data in packets)
    numbers = [int.from_bytes(data[17:19]) for data in packets]
    assert all(after - before == 1 for before, after in itertools.pairwise(numbers))
    assert {int.from_bytes(data[20:22]) for data in packets} != {0}
    shown = viewer_status(b.node, viewer)
    assert shown["transport_cc_id"] == TRANSPORT_CC_ID
    rate = shown["rate"]
    assert isinstance(rate, dict)
    assert (rate["controller"], rate["feedbacks"]) == ("gcc", 0)
    told = TransportFeedback(7, viewer.legs["video"].ssrc, 1, 0, tuple(range(0, 250_000, 25_000)))
    report = serialise_compound([ReceiverReport(7).build(), build_transport_feedback(told).build()])
    port = b.node.ports.viewers[0]
    b.due.append((port, VIEWER, report))
    encoder.run_for(200_000)
    rate = viewer_status(b.node, viewer)["rate"]
    assert isinstance(rate, dict)
    assert rate["feedbacks"] == 1


def test_transport_numbers_are_those_of_one_transport() -> None:
    """A player with a port for each track reports of each by itself, as of a transport that loses
    what went to the other; with one port for both it reports of both together."""
    overlay = Overlay()
    _, b = pair(overlay)
    split = {"video": VIEWER, "audio": AUDIO_VIEWER}
    b.node.add_viewer("demo", split, overlay.now_us, extensions=Extensions(TRANSPORT_CC_ID))
    bundle = (VIEWER[0], VIEWER[1] + 10)
    both = {"video": bundle, "audio": bundle}
    b.node.add_viewer("demo", both, overlay.now_us, extensions=Extensions(TRANSPORT_CC_ID))
    Encoder(overlay, "a").run_for(1_000_000)
    for address in (VIEWER, bundle):
        packets = [data for _, to, data in overlay.received if to == address]
        numbers = [int.from_bytes(data[17:19]) for data in packets]
        assert len(numbers) > 20
        assert numbers == list(range(1, len(numbers) + 1))
    assert len({data[1] & 0x7F for _, to, data in overlay.received if to == bundle}) == 2
    audio = [data for _, to, data in overlay.received if to == AUDIO_VIEWER]
    assert audio
    assert not any(data[0] & 0x10 for data in audio)


def test_viewers_get_what_they_can_tell_enough_for() -> None:
    overlay = Overlay()
    _, b = pair(overlay)
    wishes: dict[RtcpMode, Extensions] = {
        "next": Extensions(),
        "none": Extensions(),
        "mux": Extensions(transport_cc=1),
    }
    viewers = {
        rtcp: b.node.add_viewer(
            "demo", {"video": VIEWER}, overlay.now_us, rtcp=rtcp, extensions=extensions
        )
        for rtcp, extensions in wishes.items()
    }
    Encoder(overlay, "a").run_for(200_000)
    found = {rtcp: viewer.controller for rtcp, viewer in viewers.items()}
    assert found == {"next": "loss_only", "none": "fixed", "mux": "gcc"}
