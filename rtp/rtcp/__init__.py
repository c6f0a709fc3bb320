"""RTCP (RFC 3550 section 6) as far as the edges need it.

`walk` is native, for what comes and goes per packet. `compound`, `sender_report`,
`receiver_report`, `source_description` and `feedback` are the same formats in plain Python, for the
clients and the slow side, and the twins that `walk` is tested against.
"""
