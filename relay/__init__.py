"""The node daemon: takes streams in, joins the overlay, serves viewers.

`node` is the sans-IO core that owns one native engine; `daemon` is the only module that opens
sockets and reads clocks, with `admin` beside it for HTTP. `slowpath` decides over time, `edge`
holds the sessions of clients that are not nodes.
"""
