"""Wire formats and RFC arithmetic: RTP, RTCP, SDP, sequence numbers, NTP times, codec payloads.

Bytes and integers in, values out. No I/O, no clock, no policy; imports nothing else of this
project. Bytes that cannot be parsed raise `rtp.errors.RtpParseError`, session descriptions
`SdpError`; our own misuse raises `RtpValueError`. What runs per packet is native
(`rtp/payload/*.pyx`, `rtp/rtcp/walk.pyx`), each with a plain-Python twin beside it.
"""
