"""What an engine promises whatever arrives; checked after each datagram of a story."""

from __future__ import annotations

from collections.abc import Iterable

from fastpath import Engine
from fastpath.events import LinkKeyed
from fastpath.stats import MemoryStats

# Counters that are not the end of a packet that arrived.
BESIDE_PACKETS = {
    "ingest_split", "ingest_asked_again", "ingest_repaired", "ingest_parameter_sets",
    "viewer_nack_too_old", "viewer_resend_suppressed", "viewer_resend_refused",
    "viewer_paused", "key_requests_merged", "peer_moved",
    "sent_packets", "sent_batches", "send_would_block", "send_refused", "receive_batches",
    "receive_truncated", "control_unsent", "events_lost", "late_queue_full", "late_pool_empty",
    "ring_grown", "ring_growth_refused", "evicted_for_space", "early_evicted", "command_stale",
}  # fmt: skip
# Verdicts after which the engine may send: it forwards, or answers a request.
MAY_SEND = {"accepted", "accepted_late", "feedback_taken", "viewer_report"}
# Verdicts of a packet that proved nothing: only its counter may change.
UNPROVEN = {
    "truncated", "wrong_version", "unknown_type", "unknown_peer", "no_keys", "wrong_epoch",
    "before_window", "bad_tag", "replayed", "malformed", "oversized", "hello_rate_limited",
    "stranger_rate_limited", "viewer_unknown", "viewer_malformed", "ingest_unassigned",
    "ingest_rtcp_malformed", "ingest_rtcp_unknown", "ingest_payload_type",
}  # fmt: skip


def packet_verdicts(engine: Engine) -> dict[str, int]:
    """Counters of what became of packets."""
    return {name: n for name, n in engine.verdicts().items() if name not in BESIDE_PACKETS}


def check_memory(memory: MemoryStats) -> None:
    """Nothing beyond what was laid out at start."""
    for name in MemoryStats.__slots__:
        used, limit = getattr(memory, name)
        assert 0 <= used <= limit, f"{name}: {used} of {limit}"


def check_verdict(
    before: dict[str, int], after: dict[str, int], held: int, sent: int, events: Iterable[object]
) -> set[str]:
    """One datagram, one verdict. held: packets in the early store before. Returns the verdicts."""
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert all(n > 0 for n in changed.values())
    total = sum(changed.values())
    # What leaves the early store is counted by its second fate; a hop limit also ends sending.
    if held == 0 and "hop_limit_reached" not in changed:
        assert total == 1, changed
    assert total >= 1
    # What comes from an encoder is forwarded, reported on, and its key frames are asked for.
    may_send = any(name in MAY_SEND or name.startswith("ingest") for name in changed)
    is_keyed = any(isinstance(event, LinkKeyed) for event in events)
    assert may_send or is_keyed or sent == 0, f"{sent} packets sent after {changed}"
    return set(changed)
