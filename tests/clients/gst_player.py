"""A GStreamer player that repairs and reports as browsers do: RTX and transport-wide feedback.

Run by Debian's own Python, which has GStreamer's bindings (gst-launch-1.0 cannot add an element for
RTX to a session):

    /usr/bin/python3 gst_player.py PLAN.json

PLAN.json: {"directory": ..., "latency_ms": ..., "bandwidth": bytes/s of a session, "feedback_ms":
between two transport-wide feedbacks; 0: after each frame, as by default, "media": [{"port": where
it listens, "rtcp_to": port, "payload_type": ..., "caps": of what comes, "rtx": {"97": 96},
"chain": from packets to muxer}]}. Picture and sound of one port are one session. RTCP comes to the
same ports (RFC 5761). Ends on SIGINT and writes figures.json.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # type: ignore[import-not-found]  # noqa: E402

HOST = "127.0.0.1"
RTX_FIGURES = ("num-rtx-requests", "num-rtx-packets", "num-rtx-assoc-packets")
BUFFER_FIGURES = ("num-pushed", "num-lost", "num-late", "num-duplicates", "rtx-count")


class Player:
    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.directory = Path(plan["directory"])
        self.pipeline = Gst.Pipeline.new("player")
        self.receivers: list[Any] = []
        self.buffers: list[Any] = []
        self.chains: dict[int, Any] = {}  # by payload type
        self.bin = self.make("rtpbin", latency=plan["latency_ms"], do_retransmission=True)
        self.bin.set_property("rtp-profile", 3)  # AVPF
        self.bin.connect("request-pt-map", self.caps_of)
        self.bin.connect("request-aux-receiver", self.aux_receiver)
        self.bin.connect("new-jitterbuffer", lambda _, made, *_more: self.buffers.append(made))
        self.bin.connect("pad-added", self.play)
        muxer = self.make("matroskamux", streamable=True)
        kept = self.make("filesink", location=str(self.directory / "kept.mkv"))
        muxer.link(kept)
        self.sessions: list[list[dict[str, Any]]] = []
        for medium in plan["media"]:
            self.add_chain(medium, muxer)
            same = [s for s in self.sessions if s[0]["port"] == medium["port"]]
            if same:
                same[0].append(medium)
            else:
                self.sessions.append([medium])
        for number, media in enumerate(self.sessions):
            self.add_session(number, media)

    def make(self, factory: str, **properties: object) -> Any:
        element = Gst.ElementFactory.make(factory)
        for name, value in properties.items():
            element.set_property(name.replace("_", "-"), value)
        self.pipeline.add(element)
        return element

    def add_chain(self, medium: dict[str, Any], muxer: Any) -> None:
        chain = Gst.parse_bin_from_description(medium["chain"], True)
        self.pipeline.add(chain)
        chain.link(muxer)
        self.chains[medium["payload_type"]] = chain

    def add_session(self, number: int, media: list[dict[str, Any]]) -> None:
        """Each packet goes to both doors; each takes its own kind only."""
        source = self.make("udpsrc", port=media[0]["port"], buffer_size=1 << 20)
        source.set_property("caps", Gst.Caps.from_string(media[0]["caps"]))
        both = self.make("tee")
        source.link(both)
        both.link_pads("src_%u", self.bin, f"recv_rtp_sink_{number}")
        reports = self.make("capssetter", join=False, replace=True)
        reports.set_property("caps", Gst.Caps.from_string("application/x-rtcp"))
        both.link(reports)
        reports.link_pads("src", self.bin, f"recv_rtcp_sink_{number}")
        source.set_state(Gst.State.READY)  # binds its port, from which the reports shall come
        out = self.make("udpsink", host=HOST, port=media[0]["rtcp_to"], sync=False)
        out.set_property("async", False)
        out.set_property("close-socket", False)
        out.set_property("socket", source.get_property("used-socket"))
        self.bin.link_pads(f"send_rtcp_src_{number}", out, "sink")
        session = self.bin.emit("get-internal-session", number)
        session.set_property("bandwidth", float(self.plan["bandwidth"]))
        if self.plan["feedback_ms"]:
            interval_ns = self.plan["feedback_ms"] * Gst.MSECOND
            session.set_property("twcc-feedback-interval", interval_ns)

    def caps_of(self, _bin: Any, session: int, payload_type: int) -> Any:
        for medium in self.sessions[session]:
            if medium["payload_type"] == payload_type:
                return Gst.Caps.from_string(medium["caps"])
            if str(payload_type) in medium.get("rtx", {}):
                caps = Gst.Caps.from_string(medium["caps"])  # the clock is that of the media
                made = caps.get_structure(0)
                made.set_value("encoding-name", "RTX")
                made.set_value("payload", payload_type)
                text = made.to_string()
                return Gst.Caps.from_string(text)
        return None

    def aux_receiver(self, _bin: Any, session: int) -> Any:
        """What turns RTX back into the packets that were asked for; none where none is agreed."""
        types = {k: v for medium in self.sessions[session] for k, v in medium["rtx"].items()}
        if not types:
            return None
        pairs = ",".join(f"{media}=(uint){rtx}" for rtx, media in types.items())
        receiver = Gst.ElementFactory.make("rtprtxreceive")
        receiver.set_property(
            "payload-type-map", Gst.Structure.from_string(f"application/x-rtp-pt-map,{pairs}")[0]
        )
        self.receivers.append(receiver)
        around = Gst.Bin.new(f"rtx-{session}")
        around.add(receiver)
        for name in ("sink", "src"):
            around.add_pad(Gst.GhostPad.new(f"{name}_{session}", receiver.get_static_pad(name)))
        return around

    def play(self, _bin: Any, pad: Any) -> None:
        name = pad.get_name()
        if name.startswith("recv_rtp_src_"):
            pad.link(self.chains[int(name.rpartition("_")[2])].get_static_pad("sink"))

    def figures(self) -> dict[str, object]:
        """Sums over all sessions."""
        rtx = {
            name: sum(receiver.get_property(name) for receiver in self.receivers)
            for name in RTX_FIGURES
        }
        stats = [buffer.get_property("stats") for buffer in self.buffers]
        buffers = {name: sum(each.get_value(name) for each in stats) for name in BUFFER_FIGURES}
        return {"rtx": rtx, "jitter_buffers": buffers}

    def run(self) -> None:
        loop = GLib.MainLoop()
        failures: list[str] = []

        def heard(_bus: Any, message: Any) -> None:
            if message.type == Gst.MessageType.ERROR:
                failures.append(str(message.parse_error()))
            if message.type in (Gst.MessageType.ERROR, Gst.MessageType.EOS):
                loop.quit()

        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", heard)
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGINT, self.end)
        self.pipeline.set_state(Gst.State.PLAYING)
        loop.run()
        figures = self.figures()
        self.pipeline.set_state(Gst.State.NULL)
        (self.directory / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
        if failures:
            sys.exit("\n".join(failures))

    def end(self) -> bool:
        self.pipeline.send_event(Gst.Event.new_eos())
        return True


if __name__ == "__main__":
    Gst.init(None)
    Player(json.loads(Path(sys.argv[1]).read_text())).run()
