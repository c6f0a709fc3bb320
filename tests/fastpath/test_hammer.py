"""A second of what `make tsan` runs: no counter falls, and all sides get on."""

from __future__ import annotations

import random
import sys

import pytest

from tests.fastpath.hammer import hammer

pytestmark = pytest.mark.integration
SEED = random.randrange(1 << 32)


def test_counters_and_mailboxes_from_all_sides() -> None:
    sys.stdout.write(f"seed {SEED}\n")
    figures = hammer(1.0, SEED)
    assert figures["forwarded"] > 0
    assert figures["commands"] > 0
    assert figures["reads"] > 0
