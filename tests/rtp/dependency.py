"""Writes dependency descriptors (RTP Payload Format For AV1, version 1.0, appendix A.8)."""

from __future__ import annotations

# Indications of each template for two decode targets: the second one has all frames.
TEMPLATES = ("SS", "RR", "-R", "-D", "DD")
NEEDED, DISCARDABLE = 1, 3
_VALUES = {"-": "00", "D": "01", "S": "10", "R": "11"}


def structure(*, first: int = 0, chains: int = 0, resolutions: bool = False) -> str:
    """Two temporal layers: templates 0 and 1, the others above. As digits."""
    layers = "00 01 00 00 11"
    indications = "".join(_VALUES[each] for template in TEMPLATES for each in template)
    differences = "0" + "1 0000 0" * (len(TEMPLATES) - 1)
    protected = {0: "0", 1: "10", 2: "11"}[chains]  # ns(3)
    if chains:
        protected += "0" * (chains - 1) * 2  # by which one each target is: ns(chains)
        protected += "0001" * len(TEMPLATES) * chains
    size = "1" + f"{639:016b}{359:016b}" if resolutions else "0"
    return f"{first:06b} 00001 {layers} {indications} {differences} {protected} {size}"


def describe(
    template: int,
    frame: int,
    structure: str = "",
    *,
    own: str = "",
    active: str = "",
    begins: bool = True,
    ends: bool = True,
) -> bytes:
    """own: the frame's own indications; active: decode targets in use, as digits."""
    digits = f"{int(begins)}{int(ends)}{template:06b}{frame:016b}"
    if structure or own or active:
        digits += f"{int(bool(structure))}{int(bool(active))}{int(bool(own))}00"
        digits += structure + active + "".join(_VALUES[each] for each in own)
    digits = digits.replace(" ", "")
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8)
