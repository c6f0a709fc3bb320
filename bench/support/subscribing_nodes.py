"""Several nodes downstream, as far as the one upstream can tell: real links, nobody behind them.

Each is a port and a link of one real engine: keys by the real handshake, probes, requests for what
is lost, and the arrivals that rate control upstream lives on are told as any node tells them. Only
SUBSCRIBE and its refreshes are written here, as a node sends them. The engine knows none of the
streams, so a packet is authenticated, counted and forgotten, at a fraction of what a node pays.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from random import SystemRandom

from bench.support.busy_node import LINK_RATE_BPS, Peer
from bench.support.network import Address, udp_socket
from fastpath import Engine, PortKind, events
from fastpath.events import Event
from relay.clock import now_us
from relay.handshake import Handshake, OfferKeys, SendHello
from relay.hkdf import Endpoint, hello_key
from relay.messages import Ok, Subscribe, decode, encode
from relay.slowpath.upstream import REFRESH_US

FIRST_NODE_ID = 2
UPSTREAM_NODE_ID = 1
TICK_S = 0.02
AGAIN_S = 1.0  # what has not been answered is asked for again
SLAB_BYTES = 8 << 20


@dataclass
class Neighbourship:
    """One of the nodes. waiting, live: when each subscription was asked for last, the longest ago
    first; answered or not yet."""

    name: str
    link: int
    handshake: Handshake
    waiting: dict[str, float] = field(default_factory=dict)
    live: dict[str, float] = field(default_factory=dict)


class SubscribingNodes:
    """peers: for the configuration of the node upstream. `start` and `close` within an event
    loop."""

    def __init__(self, count: int) -> None:
        self._sockets = [udp_socket() for _ in range(count)]
        self.peers = tuple(
            Peer(f"peer{n}", FIRST_NODE_ID + n, one.getsockname(), secrets.token_bytes(32))
            for n, one in enumerate(self._sockets)
        )
        self.counters: Counter[str] = Counter()
        self._engine = Engine(
            node_id=FIRST_NODE_ID,
            streams=1,
            cursors=1,
            node_links=count,
            viewer_links=1,
            ports=count,
            slab_bytes=SLAB_BYTES,
            shed_age_us=0,  # what it cannot take is lost, and reported so
        )
        self._thread = threading.Thread(target=self._engine.run, name="nodes", daemon=True)
        self._nodes: dict[int, Neighbourship] = {}
        self._news = asyncio.Event()
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def keyed(self) -> int:
        """How many links have keys."""
        return sum(node.handshake.state == "keyed" for node in self._nodes.values())

    @property
    def live(self) -> int:
        """Subscriptions that were answered, of all nodes together."""
        return sum(len(node.live) for node in self._nodes.values())

    @property
    def _waiting(self) -> int:
        return sum(len(node.waiting) for node in self._nodes.values())

    def received(self) -> dict[str, int]:
        """Of all links: packets, and those of them that came late or never."""
        stats = [self._engine.link_stats(link) for link in self._nodes]
        return {
            "packets": sum(one.received_packets for one in stats),
            "lost": sum(one.lost for one in stats),
            "repaired": sum(one.repaired for one in stats),
        }

    def start(self, upstream: Address) -> None:
        """Link all of them with the node upstream."""
        self._thread.start()
        for peer, own in zip(self.peers, self._sockets, strict=True):
            link = self._engine.add_link(
                port=self._engine.open_port(PortKind.OVERLAY, own.detach()),
                address=upstream,
                peer_node=UPSTREAM_NODE_ID,
                hello_key=hello_key(peer.secret),
                rate_bps=LINK_RATE_BPS,
            )
            handshake = Handshake(
                own=Endpoint(peer.node_id),
                peer=Endpoint(UPSTREAM_NODE_ID),
                secret=peer.secret,
                rng=SystemRandom(),
                start_us=now_us(),
            )
            self._nodes[link] = Neighbourship(peer.name, link, handshake)
        asyncio.get_running_loop().add_reader(self._engine.event_fd, self._take_events)
        self._refreshing = asyncio.create_task(self._keep_going())

    def close(self) -> None:
        """Once."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            asyncio.get_running_loop().remove_reader(self._engine.event_fd)
            self._engine.stop()
            self._thread.join(5)

    async def subscribe(self, names: Iterable[str], at_once: int, until: float) -> int:
        """All nodes to each of the names, some at a time; how many are live, at `until` (of
        time.monotonic) or when all are."""
        for name in names:
            for node in self._nodes.values():
                await self._until(lambda: self._waiting < at_once, until)
                self._ask(node, name)
        await self._until(lambda: not self._waiting, until)
        return self.live

    async def wait_keyed(self, seconds: float) -> None:
        """All links, or as long as that."""
        everybody = len(self.peers)
        await self._until(lambda: self.keyed == everybody, time.monotonic() + seconds)

    async def _until(self, is_so: Callable[[], bool], until: float) -> None:
        """Or until that time comes."""
        while not is_so() and (left_s := until - time.monotonic()) > 0:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left_s)

    def _ask(self, node: Neighbourship, name: str) -> None:
        """At first and as a refresh: the same transaction."""
        asked = node.live if node.live.pop(name, None) is not None else node.waiting
        asked.pop(name, None)
        asked[name] = time.monotonic()
        message = Subscribe(1, name, path=(), visited=(node.name,))
        self._engine.send_control(node.link, encode(message))
        self.counters["asked"] += 1

    async def _keep_going(self) -> None:
        """HELLO, and each subscription again when that is due."""
        while True:
            for node in self._nodes.values():
                node.handshake.handle_timer(now_us())
                self._carry_out(node)
                for asked, wait_s in ((node.waiting, AGAIN_S), (node.live, REFRESH_US / 1e6)):
                    due = time.monotonic() - wait_s
                    for name in [*takewhile(lambda n: asked[n] <= due, asked)]:  # noqa: B023
                        self._ask(node, name)
            await asyncio.sleep(TICK_S)

    def _take_events(self) -> None:
        self._news.set()
        while batch := self._engine.events():
            for event in batch:
                if (node := self._nodes.get(getattr(event, "link", -1))) is not None:
                    self._on_event(node, event)
                    self._carry_out(node)

    def _on_event(self, node: Neighbourship, event: Event) -> None:
        match event:
            case events.ControlReceived(_, payload):
                message = decode(payload)
                self.counters[type(message).__name__.lower()] += 1
                if isinstance(message, Ok) and message.broadcast in node.waiting:
                    node.live[message.broadcast] = node.waiting.pop(message.broadcast)
            case events.HelloReceived(_, payload):
                node.handshake.on_hello(payload, now_us())
            case events.LinkKeyed():
                node.handshake.on_keyed()
            case events.LinkUp():
                node.handshake.on_link_up()
            case events.LinkDown():
                self.counters["links_down"] += 1
                node.handshake.on_link_down(now_us())

    def _carry_out(self, node: Neighbourship) -> None:
        while (output := node.handshake.next_event()) is not None:
            match output:
                case SendHello(payload):
                    self._engine.send_hello(node.link, payload)
                case OfferKeys(receive_key, send_key, send_now):
                    self._engine.offer_keys(
                        node.link, receive_key=receive_key, send_key=send_key, send_now=send_now
                    )
