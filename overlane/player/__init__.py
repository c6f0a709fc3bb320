"""A test viewer: it asks a node for a stream and says how much came whole and in time."""
