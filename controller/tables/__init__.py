"""What each node is told: tables compiled, versioned, sent and acknowledged."""
