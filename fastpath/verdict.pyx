"""Names of the engine's counters (the enum is in verdict.pxd)."""
