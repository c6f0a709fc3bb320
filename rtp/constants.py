"""Numbers fixed by RFCs, each with its section. Numbers we chose live where they are used."""

from typing import Final

# RFC 3550 5.1: the fixed header.
RTP_VERSION: Final = 2
RTP_HEADER_BYTES: Final = 12
RTP_MAX_CSRC: Final = 15  # a four-bit count
RTP_MAX_PAYLOAD_TYPE: Final = 127  # seven bits beside the marker
RTP_MAX_PADDING_BYTES: Final = 255  # one octet, which counts itself
RTP_EXTENSION_HEADER_BYTES: Final = 4  # RFC 3550 5.3.1: profile, length in 32-bit words
SEQUENCE_NUMBER_BITS: Final = 16
TIMESTAMP_BITS: Final = 32

# RFC 768: what one UDP length field can name; longer input cannot be one packet.
UDP_MAX_BYTES: Final = 65_535

# RFC 3550 6.4, 12.1; RFC 4585 6.1: RTCP.
RTCP_HEADER_BYTES: Final = 4
RTCP_SENDER_REPORT: Final = 200
RTCP_RECEIVER_REPORT: Final = 201
RTCP_SOURCE_DESCRIPTION: Final = 202
RTCP_GOODBYE: Final = 203
RTCP_APPLICATION: Final = 204
RTCP_TRANSPORT_FEEDBACK: Final = 205
RTCP_PAYLOAD_FEEDBACK: Final = 206
RTCP_MAX_COUNT: Final = 31  # five bits
RTCP_SENDER_INFO_BYTES: Final = 24  # SSRC of the sender and sender info (6.4.1)
RTCP_REPORT_BLOCK_BYTES: Final = 24
RTCP_FEEDBACK_BYTES: Final = 8  # RFC 4585 6.1: SSRC of packet sender and of media source
NACK_FORMAT: Final = 1  # of RTCP_TRANSPORT_FEEDBACK, RFC 4585 6.2.1
NACK_ITEM_BYTES: Final = 4
NACK_BLP_BITS: Final = 16
PLI_FORMAT: Final = 1  # of RTCP_PAYLOAD_FEEDBACK, RFC 4585 6.3.1
FIR_FORMAT: Final = 4  # of RTCP_PAYLOAD_FEEDBACK, RFC 5104 4.3.1
FIR_ITEM_BYTES: Final = 8
# draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1.
TRANSPORT_CC_FORMAT: Final = 15  # of RTCP_TRANSPORT_FEEDBACK
TRANSPORT_CC_REFERENCE_US: Final = 64_000
TRANSPORT_CC_UNIT_US: Final = 250
TRANSPORT_CC_URI: Final = (  # 5
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)
# RFC 8285 4.2: header extensions in the one-byte form.
ONE_BYTE_EXTENSION: Final = 0xBEDE
ONE_BYTE_MAX_ID: Final = 14
SDES_END: Final = 0  # RFC 3550 6.5
SDES_CNAME: Final = 1
SDES_MAX_ITEM_BYTES: Final = 255

# RFC 5761 4: the second octet of RTCP when RTP shares its port.
RTCP_FIRST_MULTIPLEXED_TYPE: Final = 192
RTCP_LAST_MULTIPLEXED_TYPE: Final = 223

# RFC 5905 6, 7.3 and A.4: seconds from 1900 to 1970.
NTP_UNIX_OFFSET_S: Final = 2_208_988_800

# H.264 table 7-1: NAL unit types.
NAL_SLICE: Final = 1
NAL_PARTITION_A: Final = 2
NAL_PARTITION_C: Final = 4
NAL_IDR_SLICE: Final = 5
NAL_SEI: Final = 6
NAL_SPS: Final = 7
NAL_PPS: Final = 8
NAL_AUD: Final = 9

# RFC 6184 5.2 to 5.8: payload structures.
NAL_LAST_SINGLE: Final = 23
NAL_STAP_A: Final = 24
NAL_FU_A: Final = 28
NAL_TYPE_MASK: Final = 0x1F
NAL_REF_IDC_MASK: Final = 0x60
NAL_FORBIDDEN_BIT: Final = 0x80
STAP_A_LENGTH_BYTES: Final = 2
FU_A_HEADER_BYTES: Final = 2  # indicator and header
FU_START: Final = 0x80
FU_END: Final = 0x40

# H.265 table 7-1 and 7.3.1.2; RFC 7798 4.4.
HEVC_VPS: Final = 32
HEVC_SPS: Final = 33
HEVC_PPS: Final = 34
HEVC_AP: Final = 48
HEVC_FU: Final = 49
HEVC_HEADER_BYTES: Final = 2

# RFC 7741 4.2 and 4.3: VP8 payload descriptor, first octet of the payload header.
VP8_EXTENDED: Final = 0x80
VP8_NON_REFERENCE: Final = 0x20
VP8_PARTITION_START: Final = 0x10
VP8_PARTITION_MASK: Final = 0x07
VP8_HAS_PICTURE_ID: Final = 0x80
VP8_HAS_TL0PICIDX: Final = 0x40
VP8_HAS_TID_OR_KEYIDX: Final = 0x30
VP8_LONG_PICTURE_ID: Final = 0x80
VP8_INTER_FRAME: Final = 0x01
VP8_START_CODE: Final = b"\x9d\x01\x2a"  # RFC 6386 9.1, after the three octets of the frame tag
VP8_START_CODE_AT: Final = 3
