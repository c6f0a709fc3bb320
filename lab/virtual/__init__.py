"""A whole overlay in virtual time: real engines, nodes and brain, no sockets, threads or clock.

Everything that happens follows from the scenario and its seed.
"""
