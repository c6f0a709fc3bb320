"""How many bytes a worker's state takes: of one stream, one viewer, one node link."""

def state_bytes() -> dict[str, int]:
    """Of one of each, without what it shares with others. node_link: with its window, holes and
    history."""

def lines() -> dict[str, int]:
    """In which cache line of its structure each field that a packet needs ends (from 0)."""
