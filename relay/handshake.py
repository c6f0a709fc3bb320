"""The HELLO handshake of one link: two fresh nonces make its keys, and no replay changes any.

HELLO{own nonce, peer's nonce or zeros} is authenticated by a key both sides hold, so all that an
attacker can do is to replay one. Keys come from both nonces, and this side draws a new nonce for
each new one of the peer: replayed media of an old session never verifies, and a replayed HELLO only
leads to offered keys that nothing verifies under. The engine switches when a packet does.

Until a HELLO names our new nonce, which no old one can, nobody has proved to be there: the next
HELLO takes the place of the one before, so that replays do not keep the peer waiting.

Inputs: `on_...` and `handle_timer`. Outputs: values from `next_event`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from relay.hkdf import NONCE_BYTES, Endpoint, link_key, session_key

FIRST_RETRY_US = 200_000  # chosen: about the longest round trip between two nodes
LONGEST_RETRY_US = 5_000_000  # chosen: one small packet in 5 s is no load, and no long wait
CANDIDATE_HOLD_US = 1_000_000  # chosen: one handshake takes two round trips
ANSWER_GAP_US = 50_000  # chosen: at most 20 answers a second, whatever is replayed
NO_NONCE = bytes(NONCE_BYTES)


@dataclass(frozen=True, slots=True)
class SendHello:
    """Give this payload to `Engine.send_hello`."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class OfferKeys:
    """Give these to `Engine.offer_keys`. send_now: the peer has proved that it knows our nonce."""

    receive_key: bytes
    send_key: bytes
    send_now: bool


@dataclass(frozen=True, slots=True)
class PeerRestarted:
    """The peer came back with a new nonce: it has forgotten every subscription."""


HandshakeEvent: TypeAlias = SendHello | OfferKeys | PeerRestarted


@dataclass(frozen=True, slots=True)
class Session:
    """A pair of nonces. peer: NO_NONCE until one is heard."""

    own: bytes
    peer: bytes
    since_us: int


class Handshake:
    """One neighbour's. rng: a secure source in production, a seeded one in virtual time."""

    def __init__(
        self, *, own: Endpoint, peer: Endpoint, secret: bytes, rng: Random, start_us: int
    ) -> None:
        self._own = own
        self._peer = peer
        self._secret = secret
        self._rng = rng
        self._events: deque[HandshakeEvent] = deque()
        self._current: Session | None = None
        self._candidate: Session | None = Session(self._new_nonce(), NO_NONCE, start_us)
        self._offered: tuple[bytes, bytes, bool] | None = None
        self._gave_way: set[bytes] = set()
        self._is_down = False
        self._retry_us = FIRST_RETRY_US
        self._timer_us: int | None = start_us
        self._answer_after_us = start_us
        self.malformed = 0
        self.ignored = 0

    @property
    def state(self) -> str:
        """For people: "starting", "answering", "keyed" or "down"."""
        if self._current is not None:
            return "down" if self._is_down else "keyed"
        heard = self._candidate is not None and self._candidate.peer != NO_NONCE
        return "answering" if heard else "starting"

    def pair_keys(self, own_worker: int, peer_worker: int, generation: int) -> tuple[bytes, bytes]:
        """(receive, send) between two workers of the two nodes, from the session in force. Raises
        KeyError before there is one."""
        if self._current is None:
            raise KeyError(f"no session with node {self._peer.node_id} yet")
        session = self._session_key(self._current)
        own = Endpoint(self._own.node_id, own_worker)
        peer = Endpoint(self._peer.node_id, peer_worker)
        receive_key = link_key(session, peer, own, generation)
        return receive_key, link_key(session, own, peer, generation)

    def next_event(self) -> HandshakeEvent | None:
        """Take the oldest output."""
        return self._events.popleft() if self._events else None

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due; None while the link is keyed and alive."""
        return self._timer_us

    def handle_timer(self, now_us: int) -> None:
        """Say HELLO again, ever less often, until the link is keyed and alive."""
        if self._timer_us is None or now_us < self._timer_us:
            return
        session = self._current or self._candidate
        assert session is not None  # one of the two always exists
        self._send(session)
        self._arm(now_us)
        self._retry_us = min(2 * self._retry_us, LONGEST_RETRY_US)

    def on_hello(self, payload: bytes, now_us: int) -> None:
        """A HELLO that verified, possibly a replay."""
        if len(payload) != 2 * NONCE_BYTES or payload[:NONCE_BYTES] == NO_NONCE:
            self.malformed += 1
            return
        theirs, ours = payload[:NONCE_BYTES], payload[NONCE_BYTES:]
        if self._timer_us is not None:  # somebody is there: try faster again
            self._retry_us = FIRST_RETRY_US
            self._timer_us = min(self._timer_us, now_us + FIRST_RETRY_US)
        if self._current is not None and theirs == self._current.peer:
            if ours != self._current.own:
                self._answer(self._current, now_us)
            return
        candidate = self._candidate_for(theirs, ours, now_us)
        if candidate is None:
            self.ignored += 1
            return
        is_proof = ours == candidate.own
        is_first_proof = self._offer(candidate, is_proof)
        if is_first_proof:
            self._candidate = Session(candidate.own, candidate.peer, now_us)
            self._send(candidate)
        elif not is_proof:
            self._answer(candidate, now_us)

    def on_keyed(self) -> None:
        """A packet verified under the offered keys (the engine's LinkKeyed)."""
        if self._candidate is None or self._candidate.peer == NO_NONCE:
            return
        is_restart = self._current is not None
        self._current, self._candidate = self._candidate, None
        self._offered = None
        self._gave_way.clear()
        self._timer_us = None
        self._is_down = False
        if is_restart:
            self._events.append(PeerRestarted())

    def on_link_up(self) -> None:
        """Authentic packets arrive again."""
        if self._current is not None:
            self._is_down = False
            self._timer_us = None

    def on_link_down(self, now_us: int) -> None:
        """Nothing authentic arrives. The keys stay: the peer may only be out of reach."""
        if self._current is not None:
            self._is_down = True
            self._retry_us = FIRST_RETRY_US
            self._timer_us = now_us

    def _candidate_for(self, theirs: bytes, ours: bytes, now_us: int) -> Session | None:
        """The session that a HELLO belongs to. None: another handshake has the turn."""
        candidate = self._candidate
        if candidate is not None and candidate.peer == theirs:
            return candidate
        if candidate is None:
            self._candidate = Session(self._new_nonce(), theirs, now_us)
            return self._candidate
        is_proven = self._offered == (candidate.own, candidate.peer, True)
        if theirs in self._gave_way:
            return None  # its keys have been in use: offered again, they would repeat hop_seq
        if ours == candidate.own or not is_proven:
            if is_proven:  # the peer has started yet again
                self._gave_way.add(candidate.peer)
            self._candidate = Session(candidate.own, theirs, now_us)
        elif now_us - candidate.since_us > CANDIDATE_HOLD_US:
            self._gave_way.clear()
            self._candidate = Session(self._new_nonce(), theirs, now_us)
        else:
            return None
        return self._candidate

    def _offer(self, candidate: Session, is_proof: bool) -> bool:
        """Offer the candidate's keys unless that was done. Returns whether this is the proof."""
        nonces = candidate.own, candidate.peer
        if self._offered in ((*nonces, True), (*nonces, is_proof)):
            return False
        self._offered = (*nonces, is_proof)
        session = self._session_key(candidate)
        receive_key = link_key(session, self._peer, self._own)
        send_key = link_key(session, self._own, self._peer)
        self._events.append(OfferKeys(receive_key, send_key, is_proof))
        return is_proof

    def _session_key(self, session: Session) -> bytes:
        nonces = {self._own.node_id: session.own, self._peer.node_id: session.peer}
        return session_key(self._secret, nonces)

    def _answer(self, session: Session, now_us: int) -> None:
        if now_us >= self._answer_after_us:
            self._answer_after_us = now_us + ANSWER_GAP_US
            self._send(session)

    def _send(self, session: Session) -> None:
        self._events.append(SendHello(session.own + session.peer))

    def _arm(self, now_us: int) -> None:
        # Up to a quarter early, so that nodes started together do not stay in step.
        self._timer_us = now_us + self._retry_us - self._rng.randrange(self._retry_us // 4)

    def _new_nonce(self) -> bytes:
        return self._rng.randbytes(NONCE_BYTES)
