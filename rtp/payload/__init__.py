"""What runs per packet, native: the RTP header, the frame marks of each codec, smaller packets.

`h264`, `vp8`, `opus`, `rtp_header` and `fragment` are compiled; other native modules `cimport` them
and call without the GIL. `reference` is their plain-Python twin, `marks` names the marks, and
`h264_packets` splits and joins access units (RFC 6184) for the clients.
"""
