"""Each switch of steps.py does what its name says, and loses no packet."""

from __future__ import annotations

import pytest

from bench.steps import makers
from bench.support.case import Case, Plan
from bench.support.rig import Rig
from bench.support.threads import Cores

pytestmark = pytest.mark.integration
PPS_OUT, TRIAL_S = 4_000, 0.05


def test_each_variant_forwards_and_batches_as_it_is_named() -> None:
    rig = Rig(Case(2, 200, "gro"), makers(), Cores.allowed(), Plan(1, TRIAL_S, 0))
    try:
        trials = {name: rig.trial(name, PPS_OUT, TRIAL_S, 1.0) for name in rig.relays}
    finally:
        rig.close()
    assert len(trials) == 11
    for name, trial in trials.items():
        assert trial.loss == 0, name
        sent_alone = trial.sent.sizes[0]
        if "no_gso" in name or name in ("loop_nothing", "engine_neither"):
            assert trial.sent.batches == sent_alone == trial.sent.packets, name
        elif name == "loop_recvmsg_no_gro":  # one packet in, one out
            assert trial.sent.batches == sent_alone, name
        else:
            assert trial.sent.batches < trial.sent.packets, name
