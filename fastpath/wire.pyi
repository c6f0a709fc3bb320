from enum import IntEnum

class PacketType(IntEnum):
    TYPE_MEDIA = 0
    TYPE_FEEDBACK = 1
    TYPE_PROBE = 2
    TYPE_CONTROL = 3
    TYPE_DATAGRAM = 4
    TYPE_PADDING = 5
    TYPE_HELLO = 6

class HeaderFlag(IntEnum):
    FLAG_WIDE_IDS = 1
    FLAG_SEALED = 2
    FLAG_REPAIR = 4
    FLAG_REROUTED = 8
    FLAG_DUPLICATE = 16
    FLAG_DESTINATION = 32

class TrafficClass(IntEnum):
    CLASS_CONTROL = 0
    CLASS_AUDIO = 1
    CLASS_VIDEO = 2
    CLASS_PREMIUM = 3
    CLASS_STANDARD = 4
    CLASS_DEFAULT = 5
    CLASS_PROBE = 6

def parse(data: bytes) -> dict[str, int] | str:
    """Fields of an overlay header, or the name of the verdict that refuses it."""

def tag(header: bytes, payload: bytes, key: bytes, hop_seq_high: int = 0) -> int:
    """The tag of a packet whose header bytes (without tag) are given. key: 16 bytes."""
