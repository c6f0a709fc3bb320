"""A short run of what `make mutants` does with millions of packets and sanitizers."""

from __future__ import annotations

import random
import sys

import pytest

from fastpath import Media
from tests.fuzz.mutants import BrokenError, MutantRun

SEED = random.randrange(1 << 32)
PACKETS = 40_000


@pytest.mark.parametrize("payload_bytes", [100, 1436])
def test_an_engine_survives_mutants(payload_bytes: int) -> None:
    sys.stdout.write(f"seed {SEED}\n")
    report = MutantRun(SEED, payload_bytes).run(PACKETS)
    assert report.packets >= PACKETS
    assert report.forwarded > 0
    # They get far: into rings, repair, ingest, and to each refusal.
    assert report.verdicts.keys() >= {
        *("accepted", "accepted_late", "duplicate_packet", "jump_unconfirmed", "held_early"),
        *("feedback_taken", "probe_taken", "hello_taken", "control_taken", "padding_taken"),
        *("truncated", "wrong_version", "unknown_type", "wrong_epoch", "before_window"),
        *("bad_tag", "replayed", "source_route_refused", "malformed", "oversized"),
        *("hop_limit_reached", "hello_rate_limited", "wrong_upstream", "ingest_other_ssrc"),
    }


def test_one_seed_gives_one_run() -> None:
    reports = [MutantRun(5).run(5_000) for _ in range(2)]
    assert reports[0].verdicts == reports[1].verdicts


def test_memory_that_is_held_is_found() -> None:
    run = MutantRun(SEED)
    run.run(2_000)
    run.feed.run(10)  # its streams are gone: what comes is held early, for a second
    stream = run.engine.add_stream(
        stream_id=9, media=Media.AUDIO, first_stream_seq=1, upstream=None
    )
    with pytest.raises(BrokenError, match="streams are still in use"):
        run.remove([], run.feed.now_us)
    run.remove([stream], run.feed.now_us + 4_000_000)
