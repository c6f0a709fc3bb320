"""Instructions per packet have a ceiling. Counts do not shake with the machine's load.

The ceilings are about a tenth above what was counted when they were set. After a change that makes
packets cheaper, set them anew: run this file with -rP, which shows the counts, and add 10 %. One
that exceeds a ceiling either has a reason worth a new one, or is not meant to be there;
`bench/instructions.py` shows where the instructions are. Compilers differ by less than that tenth.
"""

from __future__ import annotations

import sys

import pytest

from bench.instructions import NoValgrindError, count
from bench.support.memory_node import MemoryCase
from bench.support.spoilers import engine_file, slow_builds
from fastpath import siphash
from tests.support.instruction_count import (
    CannotCountError,
    InstructionCount,
    count_instructions,
)

# Few packets a turn, because each instruction is a stop: a turn's own cost counts more than in the
# bench. Vector lanes make the tags, so by what the processor has:
# (fan-out, bursts of 8 packets a turn) -> instructions per packet out, gcc 12 -O3.
CEILINGS = {
    "avx512": {(1, 2): 1225, (10, 1): 455},
    "avx2": {(1, 2): 1355, (10, 1): 525},
}
CASES = sorted(CEILINGS["avx2"])

BUILDS = slow_builds(engine_file())
pytestmark = pytest.mark.skipif(
    bool(BUILDS), reason=f"built with {', '.join(BUILDS)}: other instructions than a node's"
)


def lanes() -> str:
    """The widest vectors that the engine uses here."""
    widest = siphash.ways()[-1]
    if widest not in CEILINGS:
        pytest.skip(f"no ceilings are known for tags made by {widest} code, as without AVX2")
    return widest


def under_callgrind(case: MemoryCase, turns: int) -> InstructionCount:
    profile, figures = count(case, turns, [])
    return InstructionCount(
        profile.events["Ir"], figures["packets_in"], figures["packets_out"], turns
    )


def counted(case: MemoryCase) -> tuple[InstructionCount, str]:
    """By single steps; where these are not allowed, by callgrind. And the lanes used."""
    widest = lanes()
    try:
        return count_instructions(case), widest
    except CannotCountError as no_steps:
        try:
            return under_callgrind(case, 1), "avx2"  # it has no wider ones
        except NoValgrindError as no_valgrind:
            pytest.skip(f"instructions cannot be counted here: {no_steps}; and {no_valgrind}")


@pytest.mark.parametrize(("fanout", "bursts"), CASES)
def test_a_packet_stays_below_its_ceiling(fanout: int, bursts: int) -> None:
    case = MemoryCase(fanout=fanout, bursts_a_turn=bursts)
    found, widest = counted(case)
    assert found.packets_in == case.packets_a_turn
    assert found.packets_out == case.packets_a_turn * fanout
    ceiling = CEILINGS[widest][fanout, bursts]
    told = f"fan-out {fanout}, {widest}: {found.per_packet_out:.0f} instructions a packet out"
    sys.stdout.write(f"{told}\n")
    assert found.per_packet_out <= ceiling, f"{told}, ceiling {ceiling}"
    # A ceiling far above what is counted would hold nothing back.
    assert found.per_packet_out >= ceiling / 4, f"{told}: lower the ceiling {ceiling}"


def test_single_steps_count_what_callgrind_counts() -> None:
    """Two ways that share nothing but the feed. One packet a turn: no lanes, which may differ."""
    case = MemoryCase(burst=1, bursts_a_turn=1, payload_bytes=200)
    try:
        stepped = count_instructions(case, 3)
    except CannotCountError as reason:
        pytest.skip(f"no single steps: {reason}")
    try:
        simulated = under_callgrind(case, 3)
    except NoValgrindError as reason:
        pytest.skip(f"nothing to compare with: {reason}")
    assert simulated.packets_out == stepped.packets_out == 3
    # Callgrind's processor may take another memcpy.
    assert abs(simulated.instructions / stepped.instructions - 1) < 0.02


def test_more_work_counts_more() -> None:
    """The count sees the engine: four times the packets, but each turn's own cost once."""
    one, _ = counted(MemoryCase(burst=8, bursts_a_turn=1, payload_bytes=200))
    four, _ = counted(MemoryCase(burst=8, bursts_a_turn=4, payload_bytes=200))
    assert 2 < four.instructions / one.instructions < 4.1
