"""What runs per packet, native: the RTP header, the frame marks of each codec, smaller packets.

`codec` lists the codecs by number; `h264`, `h265`, `vp8`, `vp9`, `av1` and `opus` tell their marks,
`dependency` reads the header extension that tells what frames depend on, `fragment` cuts what is
too large, all after `rtp_header`. They are compiled; other native modules `cimport` them and call
without the GIL. `reference` and the `reference_...` beside it are their plain-Python twins, `marks`
names the marks, `parameter_sets` reads those of session descriptions, and `h264_packets` splits and
joins access units (RFC 6184) for the clients.
"""
