"""Measured claims: one script each, which prints JSON. `support/` and `native/` serve them."""
