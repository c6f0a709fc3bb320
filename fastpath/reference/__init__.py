"""The native engine's twin in plain Python: what each part is, without how it is made fast.

One file per native file of the same name, with the same words for the same things. To read it:
`wire` and `siphash` (a packet), `ring` and `cursor` (a stream and who follows it), `link` (numbers,
windows, holes, budget), then `receive`, `insert`, `send`, `report`, `repair`, `feedback` and
`key_frame` (what happens to them), `timers` and `engine` (when). Packet numbers are kept extended:
they never wrap here, and the wire carries their low 32 bits.

Left out: sockets and batches (`socket_io`, `virtual_io`), memory that runs out (`slab`, the pools
of rings, the mailboxes), an encoder's packets (`ingest`), RTCP that arrives, and the pauses that
ICMP causes. `tests/fastpath/differential.py` drives both engines with the same random traffic and
compares all they say.
"""

from fastpath.reference.engine import ReferenceEngine

__all__ = ["ReferenceEngine"]
