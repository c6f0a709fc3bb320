"""Everything in the corpus, and every seed, through its target on this build: no promise broken.

Inputs that once broke one are among them, as `crash-...`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import inputs_in

CORPUS = Path(__file__).parent / "corpus"


def test_each_target_has_a_corpus_and_each_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_replay(name: str) -> None:
    target = TARGETS[name]
    inputs = inputs_in(CORPUS / name)
    assert inputs
    for data in [*target.seeds(), *inputs]:
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"{name}: {data.hex()}")
            raise
