"""Messages as bytes: one msgpack array [schema, message] a WebSocket message.

The opening (Hello, Refusal) goes as schema 0, all else as the schema both speak. Everything is
checked on both sides: a sender learns of its own mistake where it makes it, and not from a peer
that hangs up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias, cast, get_args

import msgspec

from control_client.errors import (
    ControlMessageError,
    MessageTooLargeError,
    NotAMessageError,
    SchemaVersionError,
    UnknownMessageError,
)
from control_client.messages import (
    LOWEST_SCHEMA,
    SCHEMA_VERSION,
    FromBrain,
    FromNode,
    Hello,
    Message,
    Refusal,
)

MAX_MESSAGE_BYTES = 2 << 20  # chosen: the largest table and the largest report fit, as tested
MAX_HELLO_BYTES = 4096  # chosen: what a stranger may send; today's largest takes under 600
OPENING = 0

_Kinds: TypeAlias = Mapping[str, "msgspec.msgpack.Decoder[Any]"]


def _decoders(union: object) -> _Kinds:
    kinds = {kind.__struct_config__.tag: msgspec.msgpack.Decoder(kind) for kind in get_args(union)}
    return MappingProxyType(kinds)


class _Tag(msgspec.Struct):
    type: str


_FROM_NODE = _decoders(FromNode)
_FROM_BRAIN = _decoders(FromBrain)
_EITHER: _Kinds = {**_FROM_NODE, **_FROM_BRAIN}
_OPENING_TAGS = frozenset({"hello", "refusal"})
_encoder = msgspec.msgpack.Encoder()
_frame_decoder = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw])
_tag_decoder = msgspec.msgpack.Decoder(_Tag)
_Bad = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)


def encode(message: Message) -> bytes:
    """Raises ControlMessageError if the other side would not take it."""
    is_opening = isinstance(message, Hello | Refusal)
    data = _encoder.encode((OPENING if is_opening else SCHEMA_VERSION, message))
    _decode(data, _EITHER)
    return data


def decode_from_node(data: bytes) -> FromNode:
    """What a node says. Raises ControlMessageError."""
    return cast(FromNode, _decode(data, _FROM_NODE))


def decode_from_brain(data: bytes) -> FromBrain:
    """What the brain says. Raises ControlMessageError."""
    return cast(FromBrain, _decode(data, _FROM_BRAIN))


def _decode(data: bytes, kinds: _Kinds) -> Message:
    if len(data) > MAX_MESSAGE_BYTES:
        text = f"{len(data)} bytes; a message has at most {MAX_MESSAGE_BYTES}"
        raise MessageTooLargeError("", "", text)
    try:
        schema, body = _frame_decoder.decode(data)
    except _Bad:
        text = "not a control message: a msgpack array of schema and message is expected"
        raise NotAMessageError("", "", text) from None
    if schema != OPENING and not LOWEST_SCHEMA <= schema <= SCHEMA_VERSION:
        raise SchemaVersionError(schema, LOWEST_SCHEMA, SCHEMA_VERSION)
    tag = _tag(body)
    if tag not in kinds or (tag in _OPENING_TAGS) != (schema == OPENING):
        allowed = sorted(k for k in kinds if (k in _OPENING_TAGS) == (schema == OPENING))
        text = f"{tag!r} is not a message of schema {schema} here; allowed: {', '.join(allowed)}"
        raise UnknownMessageError("", "type", text)
    try:
        return cast(Message, kinds[tag].decode(body))
    except msgspec.ValidationError as error:
        raise _explain(tag, kinds[tag].type, error) from None
    except _Bad:
        raise NotAMessageError(_name(tag), "", "not well-formed msgpack") from None


def _tag(body: msgspec.Raw) -> str:
    try:
        tag = _tag_decoder.decode(body).type
    except _Bad:
        text = "not a control message: a map with a text `type` is expected"
        raise NotAMessageError("", "", text) from None
    # It goes into texts: nothing but what a tag of any version may be.
    return tag if re.fullmatch(r"[a-z_]{1,40}", tag) else "?"


def _name(tag: str) -> str:
    return "".join(part.capitalize() for part in tag.split("_"))


def _explain(tag: str, kind: type, error: msgspec.ValidationError) -> ControlMessageError:
    """The field's path stands at the end of msgspec's text, and nowhere else."""
    reason, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    if reason.startswith("Invalid enum value"):
        reason += f"; allowed: {', '.join(_allowed(kind, field))}"
    elif reason.startswith("Object") and (named := re.search(r"`(\w+)`$", reason)) is not None:
        # A missing or unknown field is named in the text, its owner in the path.
        field = f"{field}.{named[1]}" if field else named[1]
    return ControlMessageError(_name(tag), field, _printable(reason))


def _allowed(kind: type, path: str) -> list[str]:
    """The words that the field at `path` may hold."""
    found: msgspec.inspect.Type = msgspec.inspect.type_info(kind)
    for part in path.split("."):
        assert isinstance(found, msgspec.inspect.StructType)
        name, *indexes = part.replace("[", " ").split()
        found = next(field.type for field in found.fields if field.encode_name == name)
        for _ in indexes:
            assert isinstance(found, msgspec.inspect.VarTupleType)
            found = found.item_type
    if isinstance(found, msgspec.inspect.EnumType):
        return [str(member.value) for member in found.cls]
    assert isinstance(found, msgspec.inspect.LiteralType)
    return [str(value) for value in found.values]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
