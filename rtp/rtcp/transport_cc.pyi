"""Transport-wide feedback read natively; for tests. Its builder: rtp.rtcp.transport_feedback."""

def read(data: bytes) -> tuple[int, int, int, list[tuple[int, int | None]]] | None:
    """Of a datagram's first RTCP packet: SSRCs of sender and media, number of the report, and for
    each packet its transport number with its arrival in microseconds by the receiver's clock, or
    None for one that has not arrived. None: it is no such report, or not whole."""
