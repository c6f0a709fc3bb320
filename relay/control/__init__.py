"""A node's side of its controller: what it reports, announces and asks, and what it is told."""
