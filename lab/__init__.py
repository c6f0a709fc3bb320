"""A whole overlay on one machine: emulated WAN links in virtual or in real time.

`link` decides the fate of each datagram on one direction of a path, from a seed and nothing else.
`virtual_network` joins many such links under one event queue, for engines driven without sockets.
`udp_link` puts the same links between real UDP sockets on loopback. `cities` gives measured round
trip times between cities, so that a lab can say "London to New York" instead of a number.
"""
