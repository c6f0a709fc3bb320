"""Wire formats and RFC arithmetic: RTP, RTCP, sequence numbers, NTP times, codec payload marks.

Bytes and integers in, values out. No I/O, no clock, no policy; imports nothing else of this
project. Bytes that cannot be parsed raise `rtp.errors.RtpParseError`; our own misuse raises
`rtp.errors.RtpValueError`. What runs per packet is native (`rtp/payload/*.pyx`), with a
plain-Python twin in `rtp/payload/reference.py`.
"""
