"""Messages: round trips, strictness, and the worst case that must fit one control packet."""

import contextlib
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import MessageError, RefusalCode
from relay.messages import (
    MAX_ANCESTORS,
    MAX_MESSAGE_BYTES,
    End,
    Error,
    Message,
    Ok,
    Subscribe,
    Track,
    Unsubscribe,
    UpstreamLost,
    WorkerPorts,
    decode,
    encode,
)

VIDEO = Track(0xFFFFFFFF, "video", "H264", 96, 90_000, 0, "packetization-mode=1")
AUDIO = Track(1, "audio", "opus", 111, 48_000, 0xFFFFFFFF)
MESSAGES: list[Message] = [
    Subscribe(7, "demo", ("b", "a"), ("c",)),
    Subscribe(0, "demo", (), ("c",), "gop", "standby"),
    Subscribe(7, "demo", ("a",), ("c",), "seq", "active", {1: 0xFFFFFFFF, 0xFFFFFFFF: 0}),
    Ok(7, "demo", (VIDEO, AUDIO), ("a", "b"), "lost"),
    Subscribe(7, "demo", ("a",), ("c",), worker=63, source=1, generation=0xFFFFFFFF),
    Ok(7, "demo", (VIDEO,), ("a",), worker=1, to=63, generation=2),
    WorkerPorts((7000, 65_535), heard=True),
    Error(7, "demo", RefusalCode.NO_SUCH_STREAM, "no"),
    Unsubscribe(0xFFFFFFFF, "demo"),
    UpstreamLost((1, 2)),
    End((1,)),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_round_trip(message: Message) -> None:
    assert decode(encode(message)) == message


def test_a_node_with_one_worker_says_what_it_said_before_there_were_workers() -> None:
    said: list[Message] = [
        Subscribe(7, "demo", ("b",), ("c",)),
        Ok(7, "demo", (VIDEO,), ("a",)),
    ]
    for message in said:
        fields = msgspec.msgpack.decode(encode(message))
        assert not {"worker", "source", "generation", "to"} & set(fields)


def test_the_largest_answer_fits() -> None:
    """Longest names, longest fmtp on two tracks, and a path as long as the hop limit."""
    video = msgspec.structs.replace(VIDEO, fmtp="f" * 400, first_stream_seq=0xFFFFFFFF)
    audio = msgspec.structs.replace(AUDIO, fmtp="f" * 400, stream_id=0xFFFFFFFF)
    nodes = tuple(str(n) * 32 for n in range(MAX_ANCESTORS))
    ok = Ok(0xFFFFFFFF, "s" * 64, (video, audio), nodes, "lost", 63, 63, 0xFFFFFFFF)
    assert len(encode(ok)) <= MAX_MESSAGE_BYTES


def test_what_does_not_fit_is_refused() -> None:
    track = msgspec.structs.replace(VIDEO, fmtp="f" * 400)
    with pytest.raises(MessageError, match="1400 fit"):
        encode(Ok(1, "demo", (track,) * 4, ("a",)))


def subscribe_with(**fields: object) -> bytes:
    usual = {"type": "subscribe", "transaction": 1, "broadcast": "x", "path": [], "visited": ["c"]}
    return msgspec.msgpack.encode({**usual, **fields})


def test_the_largest_question_fits() -> None:
    nodes = tuple(str(n) * 32 for n in range(MAX_ANCESTORS))
    starts = {0xFFFFFFFF - n: 0xFFFFFFFF for n in range(8)}
    asked = Subscribe(0xFFFFFFFF, "s" * 64, nodes, nodes, "seq", "standby", starts)
    assert len(encode(asked)) <= MAX_MESSAGE_BYTES


MALFORMED = [
    subscribe_with(starts={n: 1 for n in range(1, 10)}),
    subscribe_with(starts={0: 1}),
    subscribe_with(starts={1: 1 << 32}),
    subscribe_with(starts={1: -1}),
    subscribe_with(starts={"1": 1}),
    subscribe_with(starts=[1, 2]),
    subscribe_with(mode="paused"),
    b"",
    b"\xc1",
    encode(MESSAGES[0]) + b"\x00",
    encode(MESSAGES[0])[:-1],
    msgspec.msgpack.encode({"type": "reboot"}),
    msgspec.msgpack.encode({"type": "end", "stream_ids": []}),
    msgspec.msgpack.encode({"type": "end", "stream_ids": [0]}),
    msgspec.msgpack.encode({"type": "end", "stream_ids": list(range(1, 10))}),
    msgspec.msgpack.encode({"type": "unsubscribe", "transaction": 1 << 32, "broadcast": "x"}),
    msgspec.msgpack.encode({"type": "unsubscribe", "transaction": 1, "broadcast": "../x"}),
    msgspec.msgpack.encode({"type": "unsubscribe", "transaction": 1, "broadcast": "x\n"}),
    msgspec.msgpack.encode({"type": "unsubscribe", "transaction": "1", "broadcast": "x"}),
    msgspec.msgpack.encode({"type": "error", "transaction": 1, "broadcast": "x", "code": "?"}),
    b"\x91" * 2000,
]


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_is_an_error(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)


@given(st.binary(max_size=200))
def test_noise_never_raises_anything_else(data: bytes) -> None:
    with contextlib.suppress(MessageError):
        decode(data)


@given(st.sampled_from(MESSAGES), st.integers(0, 2**32))
def test_damaged_messages_never_raise_anything_else(message: Message, seed: int) -> None:
    rng = Random(seed)
    data = bytearray(encode(message))
    for _ in range(3):
        data[rng.randrange(len(data))] = rng.randrange(256)
    with contextlib.suppress(MessageError):
        decoded = decode(bytes(data))
        assert decode(encode(decoded)) == decoded
