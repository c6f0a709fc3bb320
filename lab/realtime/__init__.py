"""A scenario with real processes in real time: brain, nodes, encoders, viewers, emulated links."""
