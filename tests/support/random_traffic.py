"""Random traffic for an engine, decided by a seed and by what the engine answers.

Beside what neighbours send, links, keys, streams and subscribers come, go and change.
"""

from __future__ import annotations

from collections.abc import Callable

from fastpath import Media
from fastpath.rate import RateConfig, RateKind, RateProfile
from fastpath.reference.siphash import siphash24
from fastpath.reference.wire import LOW_32, Digest
from tests.support.random_neighbours import Neighbours
from tests.support.random_overlay import HELLO_KEY, Neighbour, Source
from tests.support.twins import Address

STREAM_IDS = (0xC0FFEE, 0xFFFFFFFF, 1, 0x80000000)
RATES_BPS = (100_000_000, 100_000_000, 5_000_000, 600_000, 60_000, 8_000)


class Traffic(Neighbours):
    """One scenario. `run` raises MismatchError where the twins differ."""

    def __init__(self, seed: int, digest: Digest = siphash24) -> None:
        super().__init__(seed, digest)
        rng = self.rng
        for _ in range(rng.randint(2, 4)):
            self.add_neighbour()
        for _ in range(rng.randint(1, 3)):
            self.add_stream()
        for _ in range(rng.randint(1, 3)):
            rng.choice((self.add_cursor, self.add_viewer))()
        self.actions = self._choose_actions()

    def _choose_actions(self) -> list[Callable[[], None]]:
        """Each scenario has its own mixture, so that each kind of trouble dominates some."""
        weights: list[tuple[Callable[[], None], float]] = [
            (self.media, 12),
            (self.answer, 4),
            (self.request, 3),
            (self.probe, 3),
            (self.forge, 1.5),
            (self.skip, 1),
            (self.jump, 0.5),
            (self.backfill, 0.4),
            (self.stray, 0.5),
            (self.feedback, 0.7),
            (self.message, 0.7),
            (self.add_cursor, 0.6),
            (self.add_viewer, 0.6),
            (self.remove_cursor, 0.5),
            (self.mark_copy, 0.3),
            (self.burst_loss, 0.5),
            (self.new_keys, 0.4),
            (self.remove_stream, 0.3),
            (self.add_stream, 0.4),
            (self.move_stream, 0.2),
            (self.take_over, 0.3),
            (self.replace_neighbour, 0.2),
            (self.replace_viewer_link, 0.2),
            (self.change_rate, 0.3),
            (self.clock, 0.7),
            (self.want_key, 0.7),
            (self.arrivals, 5),
            (self.move_neighbour, 0.3),
            (self.move_viewer, 0.6),
            (self.switch_viewer, 0.8),
            (self.skip_told, 0.4),
        ]
        mixed = [(action, weight * self.rng.choice((0.2, 1, 1, 4))) for action, weight in weights]
        return self.rng.choices(*zip(*mixed, strict=True), k=400)

    def run(self, turns: int) -> None:
        if self.rng.random() < 0.15:
            self.leap_to_the_wrap()
        for _ in range(turns):
            for _ in range(self.rng.randint(0, 4)):
                self.rng.choice(self.actions)()
            self.step()

    # -- keys and links

    def new_keys(self) -> None:
        """New keys are offered; the neighbour may use them soon, much later or never."""
        rng, neighbour = self.rng, self.any_neighbour()
        fresh = rng.randbytes(16)
        if rng.random() < 0.1:
            fresh = neighbour.send_key
        send_key = rng.choice((rng.randbytes(16), bytes([neighbour.address[1] & 255]) * 16))
        self.twins.call(
            "offer_keys",
            link=neighbour.link,
            receive_key=fresh,
            send_key=send_key,
            send_now=rng.random() < 0.5,
        )
        if fresh != neighbour.send_key:
            neighbour.next_keys = fresh if rng.random() < 0.8 else None

    def add_neighbour(self, address: Address | None = None) -> None:
        rng = self.rng
        if address is None:
            host = rng.choice(("10.0.0.2", "10.0.0.3", "fd00::1"))
            address = host, 7000 + len(self.neighbours)
        self.nodes += 1
        link = self.twins.call(
            "add_link",
            port=self.port,
            address=address,
            peer_node=self.nodes,
            hello_key=HELLO_KEY,
            **self.any_rate(),
        )
        neighbour = Neighbour(address, link, rng.randbytes(16), self.nodes)
        # Fresh keys, or a link taken over just before its numbers wrap.
        first, peer_first = (
            1 if rng.random() < 0.7 else (rng.randrange(1, 4) << 32) - rng.randrange(60)
            for _ in range(2)
        )
        if rng.random() < 0.9:
            neighbour.hop_seq = peer_first - 1
            self.twins.call(
                "offer_keys",
                link=link,
                receive_key=neighbour.send_key,
                send_key=bytes([address[1] & 255]) * 16,
                send_now=rng.random() < 0.8,
                first_hop_seq=first,
                peer_first_hop_seq=peer_first,
            )
        self.neighbours.append(neighbour)

    def any_rate(self) -> dict[str, object]:
        """Of a link: fixed, or below its ceiling by one of the controllers."""
        rng = self.rng
        rate_bps = rng.choice(RATES_BPS)
        if rng.random() < 0.4:
            return {"rate_bps": rate_bps}
        rate = RateConfig(
            min_bps=rng.choice((5_000, rate_bps)) if rate_bps > 5_000 else rate_bps,
            start_bps=max(rate_bps // rng.choice((1, 1, 4, 50)), 1),
            profile=rng.choice(list(RateProfile)),
        )
        return {"rate_bps": rate_bps, "rate_kind": rng.choice(list(RateKind)), "rate": rate}

    def replace_neighbour(self) -> None:
        old = self.any_neighbour()
        if self.rng.random() < 0.5:
            self.step()
        self.twins.call("remove_link", link=old.link)
        self.neighbours.remove(old)
        for stream, upstream in self.upstreams.items():
            if upstream is old:
                self.upstreams[stream] = None
        self.seconds = {s: second for s, second in self.seconds.items() if second is not old}
        if self.rng.random() < 0.5:
            self.step()
        self.add_neighbour(old.address)

    def replace_viewer_link(self) -> None:
        if self.viewer_links:
            link = self.viewer_links.pop(self.rng.randrange(len(self.viewer_links)))
            self.twins.call("remove_link", link=link)

    def change_rate(self) -> None:
        links = [n.link for n in self.neighbours] + self.viewer_links
        rate_bps = self.rng.choice(RATES_BPS)
        self.twins.call("set_link_rate", link=self.rng.choice(links), rate_bps=rate_bps)

    # -- streams

    def add_stream(self) -> None:
        """A new one, or one whose packets come already."""
        rng = self.rng
        if len(self.sources) >= 3 or not self.neighbours:
            return
        used = {source.stream_id for source in self.sources.values()}
        waiting = [source for source in self.orphans if source.stream_id not in used]
        if waiting and rng.random() < 0.7:
            source = rng.choice(waiting)
            self.orphans.remove(source)
        else:
            free = [i for i in STREAM_IDS if i not in used]
            first = rng.choice((0xFFFFFFFF - rng.randrange(60), rng.getrandbits(32), 0))
            number = 65_535 - rng.randrange(30)
            source = Source(rng.choice(free), rng.random() < 0.7, first, number)
            if rng.random() < 0.2:
                self.orphans.append(source)
                return
        neighbour = self.any_neighbour()
        stream = self.twins.call(
            "add_stream",
            stream_id=source.stream_id,
            media=Media.VIDEO if source.is_video else Media.AUDIO,
            first_stream_seq=(source.next_seq - rng.choice((0, 0, 0, 5, 100))) & LOW_32,
            upstream=neighbour.link,
            clock_rate=source.clock_rate,
            deadline_us=rng.choice((0, 0, 5_000, 2_000_000)),
        )
        self.sources[stream] = source
        self.upstreams[stream] = neighbour

    def remove_stream(self) -> None:
        if self.sources:
            stream = self.rng.choice(list(self.sources))
            self.twins.call("remove_stream", stream=stream)
            self.orphans = [*self.orphans[-2:], self.sources.pop(stream)]
            del self.upstreams[stream]
            self.seconds.pop(stream, None)

    def move_stream(self) -> None:
        if self.sources:
            stream, neighbour = self.rng.choice(list(self.sources)), self.any_neighbour()
            self.twins.call("set_upstream", stream=stream, upstream=neighbour.link)
            self.upstreams[stream] = neighbour
            self.seconds.pop(stream, None)

    def take_over(self) -> None:
        """Another neighbour delivers as well, from some packet on; then it alone, or neither."""
        rng = self.rng
        if not self.sources:
            return
        stream, neighbour = rng.choice(list(self.sources)), self.any_neighbour()
        upstream = self.upstreams[stream]
        self.twins.call(
            "set_upstream",
            stream=stream,
            upstream=None if upstream is None else upstream.link,
            second=neighbour.link,
        )
        self.seconds[stream] = neighbour
        for _ in range(rng.randrange(4)):
            for _ in range(rng.randrange(4)):
                self.media()
            source = self.sources[stream]
            for seq in list(source.packets)[-rng.choice((1, 5, 30)) :]:
                self.transmit_media(neighbour, source, seq)
            self.step()
        if rng.random() < 0.8 and neighbour in self.neighbours:
            last = rng.choice((neighbour, upstream))
            link = None if last is None or last not in self.neighbours else last.link
            self.twins.call("set_upstream", stream=stream, upstream=link)
            self.upstreams[stream] = None if link is None else last
            self.seconds.pop(stream, None)

    # -- subscribers

    def add_cursor(self) -> None:
        if self.sources and len(self.twins.handles.cursors) < 12:
            rng = self.rng
            stream = rng.choice(list(self.sources))
            start = {}
            if rng.random() < 0.4:
                near = self.sources[stream].next_seq + rng.choice(
                    (
                        0,
                        1,
                        -1,
                        -5,
                        -60,
                        -1030,
                        3,
                        40,
                        4_095,
                        4_096,
                        4_097,
                        6_000,
                        rng.getrandbits(20),
                    )
                )
                start = {"start_seq": near & LOW_32}
            self.twins.call("add_cursor", stream=stream, link=self.any_neighbour().link, **start)

    def add_viewer(self) -> None:
        """On a leg of its own, or one more stream on the leg of another."""
        rng = self.rng
        if not self.sources or len(self.twins.handles.cursors) >= 12:
            return
        if not self.viewer_links or rng.random() < 0.7:
            if len(self.viewer_links) >= 6:
                return
            cname = b"viewer%010d" % self.viewers
            link = self.twins.call("add_viewer_link", cname=cname, **self.any_rate())
            self.viewer_links.append(link)
        self.viewers += 1
        cursor = self.twins.call(
            "add_viewer_cursor",
            stream=rng.choice(list(self.sources)),
            link=rng.choice(self.viewer_links),
            port=self.viewer_port,
            address=("192.0.2.9", 10_000 + self.viewers),
            ssrc=rng.getrandbits(32),
            payload_type=100,
            first_sequence_number=65_535 - rng.randrange(20),
            rtcp_address=rng.choice((None, ("192.0.2.9", 20_000 + self.viewers))),
            transport_cc_id=rng.choice((0, 0, 1, 14)),
            delay_id=rng.choice((0, 0, 2, 13)),
        )
        self.viewer_cursors.add(cursor)

    def switch_viewer(self) -> None:
        self.move_viewer("switch_viewer_cursor")

    def move_viewer(self, how: str = "move_viewer_cursor") -> None:
        """To any stream of the same medium and clock rate, its own among them."""
        self.viewer_cursors &= set(self.twins.handles.cursors)
        if not self.viewer_cursors:
            return
        cursor = self.rng.choice(sorted(self.viewer_cursors))
        left, _link = self.twins.places[cursor]
        rate = self.sources[left].clock_rate  # each medium here has its own
        alike = [stream for stream, source in self.sources.items() if source.clock_rate == rate]
        self.twins.call(
            how,
            cursor=cursor,
            stream=self.rng.choice(alike),
            payload_type=self.rng.choice((100, 101)),
        )

    def mark_copy(self) -> None:
        """A node gets a stream from elsewhere too, or no longer."""
        nodes = [c for c in self.twins.handles.cursors if c not in self.viewer_cursors]
        if nodes:
            self.twins.call(
                "mark_copy", cursor=self.rng.choice(nodes), is_copy=self.rng.random() < 0.7
            )

    def remove_cursor(self) -> None:
        if self.twins.handles.cursors:
            self.twins.call("remove_cursor", cursor=self.rng.choice(self.twins.handles.cursors))
