"""RTCP (RFC 3550 section 6) as far as the edges need it: compound packets, SR and SDES CNAME."""
