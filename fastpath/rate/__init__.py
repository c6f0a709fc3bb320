"""Rate controllers: how much a link or a viewer's path carries, from what its receiver tells.

`controller.pxd` is what the engine uses; `Controller` is the same behind a Python class.
"""

from fastpath.rate.config import PacketResult, Probe, RateConfig, RateKind, RateProfile, RateState
from fastpath.rate.controller import Controller

__all__ = [
    "Controller",
    "PacketResult",
    "Probe",
    "RateConfig",
    "RateKind",
    "RateProfile",
    "RateState",
]
