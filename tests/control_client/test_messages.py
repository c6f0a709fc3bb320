"""The schema: round trips, what each error names, and the largest messages."""

from __future__ import annotations

import contextlib
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_client.codec import (
    MAX_HELLO_BYTES,
    MAX_MESSAGE_BYTES,
    decode_from_brain,
    decode_from_node,
    encode,
)
from control_client.errors import (
    ControlMessageError,
    MessageTooLargeError,
    NotAMessageError,
    RequestCode,
    SchemaVersionError,
    TableRefusalCode,
    UnknownMessageError,
)
from control_client.messages import (
    MAX_HOPS,
    MAX_NEIGHBOURS,
    MAX_PATHS,
    MAX_PRODUCED,
    MAX_PUSHED,
    MAX_STREAMS,
    MAX_TRACKS,
    AnnounceStream,
    AskPath,
    EndStream,
    FromBrain,
    FromNode,
    Heartbeat,
    Hello,
    Inventory,
    LinkReport,
    Message,
    Neighbour,
    NodeLoad,
    Path,
    Paths,
    ProducedStream,
    PushedPaths,
    Refusal,
    RehomeAdvice,
    Report,
    RequestError,
    StreamIds,
    StreamReport,
    SubscriptionState,
    Table,
    TableApplied,
    TableRefused,
    TableVersion,
    TrackDescriptor,
    Welcome,
)
from tests.support.control_channel import CAPACITY, DEMO, REPORT, neighbour

V1, V2 = TableVersion(3, 1), TableVersion(3, 2)
WAY = Path(("paris", "london"), 81_000)
LINK = LinkReport("paris", True, 12_000, 100, 800, 1_000_000)
STREAM = StreamReport("demo", None, 9, 1, 1, 0, 40_000)
SUBSCRIPTION = SubscriptionState("demo", "live", ("london", "paris"), 2, 1)
HELLO = Hello(1, 1, "tokyo", "secret-token", (1 << 63) - 1, "overlane 0.1.0")
FROM_NODE: list[FromNode] = [
    HELLO,
    Inventory("192.0.2.1:7000", CAPACITY, "http://192.0.2.1:8080", V1, (DEMO,), (SUBSCRIPTION,)),
    Inventory("[2001:db8::1]:7000", CAPACITY),
    Heartbeat(),
    REPORT,
    Report(1, NodeLoad(1000, 0, 0, 0, 5), (LINK,), (STREAM,), True),
    AnnounceStream(0xFFFFFFFF, DEMO),
    EndStream("demo"),
    AskPath(0, "demo"),
    TableApplied(V1, False),
    TableRefused(V2, TableRefusalCode.STALE, "older", V1),
    SUBSCRIPTION,
    Refusal("malformed", "Table.version"),
]
FROM_BRAIN: list[FromBrain] = [
    Welcome(3, 65_535, 5_000_000, 15_000_000, 60_000_000, 800),
    Table(V1, None, (neighbour(1),), (), (PushedPaths("demo", (WAY,)),)),
    Table(V2, V1, (), ("n1",), (), ("demo",)),
    StreamIds(7, "demo", (1, 0xFFFFFFFF)),
    Paths(7, "demo", (WAY, Path((), 0, True))),
    RequestError(7, RequestCode.NO_PATH, "no way from tokyo to demo"),
    RehomeAdvice("demo", (WAY,), "4 hops, 2 are enough"),
    Heartbeat(),
    Refusal("a_later_code", "text"),
]


def frame(schema: int, **fields: object) -> bytes:
    return msgspec.msgpack.encode((schema, fields))


def test_round_trips() -> None:
    for from_node in FROM_NODE:
        assert decode_from_node(encode(from_node)) == from_node
    for from_brain in FROM_BRAIN:
        assert decode_from_brain(encode(from_brain)) == from_brain


LINK_FIELDS = {**msgspec.structs.asdict(LINK), "rtt_us": -1}
LOAD_FIELDS = msgspec.structs.asdict(REPORT.load)
CAPACITY_FIELDS = msgspec.structs.asdict(CAPACITY)


@pytest.mark.parametrize(
    ("data", "message", "field", "reason"),
    [
        (frame(1, type="ask_path", broadcast="x"), "AskPath", "transaction", "missing required"),
        (
            frame(1, type="ask_path", transaction=-1, broadcast="x"),
            "AskPath",
            "transaction",
            ">= 0",
        ),
        (
            frame(1, type="ask_path", transaction="1", broadcast="x"),
            "AskPath",
            "transaction",
            "int",
        ),
        (
            frame(1, type="ask_path", transaction=1, broadcast="../x"),
            "AskPath",
            "broadcast",
            "match",
        ),
        (
            frame(1, type="ask_path", transaction=1, broadcast="x\n"),
            "AskPath",
            "broadcast",
            "match",
        ),
        (frame(1, type="ask_path", transaction=1, broadcast="x", q=1), "AskPath", "q", "unknown"),
        (
            frame(1, type="report", window_us=1, load=LOAD_FIELDS, links=[LINK_FIELDS]),
            "Report",
            "links[0].rtt_us",
            ">= 0",
        ),
        (
            frame(1, type="report", window_us=1, load={}),
            "Report",
            "load.cpu_permille",
            "missing required",
        ),
        (
            frame(1, type="inventory", address="0.0.0.0:1", capacity=CAPACITY_FIELDS),
            "Inventory",
            "",
            "address '0.0.0.0:1' is not an ip:port",
        ),
        (
            frame(1, type="subscription_state", broadcast="x", state="gone"),
            "SubscriptionState",
            "state",
            "allowed: asking, ended, live, lost, standby",
        ),
        (
            frame(
                1,
                type="announce_stream",
                transaction=1,
                stream={
                    "broadcast": "x",
                    "tracks": [
                        {"media": "video", "codec": "MPV", "payload_type": 1, "clock_rate": 1}
                    ],
                },
            ),
            "AnnounceStream",
            "stream.tracks[0].codec",
            "allowed: AV1, H264, H265, VP8, VP9, opus",
        ),
        (
            frame(1, type="table_refused", version={"term": 1, "version": 1}, code="?", text=""),
            "TableRefused",
            "code",
            "allowed: stale, wrong_base, invalid, no_room",
        ),
        (frame(0, type="hello", lowest_schema=1), "Hello", "highest_schema", "missing required"),
    ],
)
def test_an_error_names_message_field_and_what_is_allowed(
    data: bytes, message: str, field: str, reason: str
) -> None:
    with pytest.raises(ControlMessageError) as caught:
        decode_from_node(data)
    assert (caught.value.message, caught.value.field) == (message, field)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_messages_check_as_a_whole() -> None:
    twice = Table(V1, None, (neighbour(1),))
    for build, text in (
        (lambda: Table(V1, None, (neighbour(1), neighbour(1))), "neighbour n1 is there twice"),
        (lambda: Table(V2, V1, (neighbour(1),), ("n1",)), "neighbour n1 is there twice"),
        (lambda: Table(V1, V1), "base 3.1 is not older"),
        (lambda: Table(V1, None, (), ("n1",)), "without a base"),
        (lambda: Welcome(1, 1, 5_000_000, 9_000_000, 60_000_000, 800), "twice heartbeat_us"),
        (lambda: ProducedStream("x", DEMO.tracks, (1,)), "1 stream_ids for 2 tracks"),
        (lambda: StreamIds(1, "x", (4, 4)), "stream id 4 is there twice"),
        (lambda: Hello(3, 2, "a", "t", 0), "schemas 3 to 2"),
        (lambda: Path(("a", "b", "a"), 0), "node a is there twice"),
    ):
        with pytest.raises(ValueError, match=text):
            build()
    # The same from the wire.
    fields = msgspec.to_builtins(twice, builtin_types=(bytes,))
    fields["neighbours"] *= 2
    with pytest.raises(ControlMessageError, match=r"^Table: neighbour n1 is there twice"):
        decode_from_brain(msgspec.msgpack.encode((1, fields)))


def test_too_new_too_old_and_garbage_are_told_apart() -> None:
    for data in (b"", b"\xc1", b"\x92\x01", encode(HELLO) + b"\x00", b"\x91" * 3000, b"[1,{}]"):
        with pytest.raises(NotAMessageError):
            decode_from_node(data)
    with pytest.raises(NotAMessageError, match="map with a text `type`"):
        decode_from_node(msgspec.msgpack.encode((1, {"kind": "hello"})))
    with pytest.raises(SchemaVersionError, match=r"schema 2 is newer than .* here \(1\)") as caught:
        decode_from_node(frame(2, type="quantum_report", x=1))
    assert caught.value.is_too_new
    with pytest.raises(SchemaVersionError, match="older") as caught:
        decode_from_node(frame(-1, type="report"))
    assert not caught.value.is_too_new
    with pytest.raises(UnknownMessageError, match=r"'reboot' is not a message .* ask_path"):
        decode_from_node(frame(1, type="reboot"))
    with pytest.raises(UnknownMessageError, match="'table' is not"):
        decode_from_node(encode(FROM_BRAIN[1]))  # the wrong way round
    with pytest.raises(UnknownMessageError, match=r"'\?' is not"):
        decode_from_node(frame(1, type="new\nline"))


def test_the_opening_skips_what_a_later_version_adds() -> None:
    fields = {**msgspec.structs.asdict(HELLO), "type": "hello", "favourite_colour": "blue"}
    fields["highest_schema"] = 9
    assert decode_from_node(frame(0, **fields)) == msgspec.structs.replace(HELLO, highest_schema=9)
    with pytest.raises(UnknownMessageError):
        decode_from_node(frame(1, **fields))  # but it is the opening, in any version


def test_a_sender_learns_of_its_own_mistake() -> None:
    with pytest.raises(ControlMessageError, match=r"Report.links\[0\].loss_ppm"):
        encode(Report(1, REPORT.load, (msgspec.structs.replace(LINK, loss_ppm=-1),)))
    with pytest.raises(ControlMessageError, match=r"EndStream\.broadcast"):
        encode(EndStream("no such\nname"))


def test_secrets_do_not_show() -> None:
    entry = Neighbour("paris", 1, "192.0.2.1:1", b"very-secret-very-secret-very-sec", 1_000_000)
    assert "very" not in repr(Table(V1, None, (entry,)))
    assert "secret-token" not in repr(HELLO)


def largest() -> list[Message]:
    """Each list full, each text and number as long as it may be."""

    def node(n: int) -> str:
        return f"{n:032d}"

    def name(n: int) -> str:
        return f"{n:064d}"

    much = (1 << 53) - 1
    version = TableVersion(much, much)
    base = TableVersion(much, much - 1)
    long_way = tuple(
        Path(tuple(node(k) for k in range(MAX_HOPS)), 3_600_000_000, True) for _ in range(MAX_PATHS)
    )
    address = "[1111:1111:1111:1111:1111:1111:1111:1111]:65535"
    entries = tuple(
        Neighbour(node(n), 65_535, address, bytes(32), 100_000_000_000)
        for n in range(MAX_NEIGHBOURS)
    )
    table = Table(
        version,
        base,
        entries,
        tuple(node(n) for n in range(MAX_NEIGHBOURS, 2 * MAX_NEIGHBOURS)),
        tuple(PushedPaths(name(n), long_way) for n in range(MAX_PUSHED)),
        tuple(name(n) for n in range(MAX_PUSHED, 2 * MAX_PUSHED)),
    )
    links = tuple(
        LinkReport(node(n), False, 3_600_000_000, 1_000_000, 10_000, 10_000_000_000_000)
        for n in range(MAX_NEIGHBOURS)
    )
    streams = tuple(
        StreamReport(
            name(n), node(0), much, much, much, much, 3_600_000_000, 0xFFFFFFFF, 0xFFFFFFFF
        )
        for n in range(MAX_STREAMS)
    )
    load = NodeLoad(10_000, 10_000, 0xFFFFFFFF, 0xFFFFFFFF, 10_000_000_000_000)
    report = Report(3_600_000_000, load, links, streams, True)
    track = TrackDescriptor("video", "H264", 127, 1_000_000, "f" * 400)
    ids = tuple(0xFFFFFFFF - n for n in range(MAX_TRACKS))
    produced = tuple(
        ProducedStream(name(n), (track,) * MAX_TRACKS, ids) for n in range(MAX_PRODUCED)
    )
    states = tuple(
        SubscriptionState(
            name(n), "asking", tuple(node(k) for k in range(MAX_HOPS)), 0xFFFFFFFF, 0xFFFFFFFF
        )
        for n in range(MAX_STREAMS)
    )
    inventory = Inventory(address, CAPACITY, "http://" + "h" * 193, version, produced, states)
    return [table, report, inventory]


def test_the_largest_messages_fit() -> None:
    sizes = [len(encode(message)) for message in largest()]
    assert max(sizes) <= MAX_MESSAGE_BYTES, sizes
    hello = Hello(65_535, 65_535, "n" * 32, "t" * 128, (1 << 63) - 1, "é" * 300)
    assert len(encode(hello)) <= MAX_HELLO_BYTES


def test_an_oversized_message_is_not_looked_into() -> None:
    with pytest.raises(MessageTooLargeError, match=f"at most {MAX_MESSAGE_BYTES}"):
        decode_from_node(bytes(MAX_MESSAGE_BYTES + 1))


@given(st.binary(max_size=300))
def test_noise_never_raises_anything_else(data: bytes) -> None:
    for decode in (decode_from_node, decode_from_brain):
        with contextlib.suppress(ControlMessageError):
            decode(data)


@given(st.sampled_from([*FROM_NODE, *FROM_BRAIN]), st.integers(0, 2**32))
def test_damaged_messages_never_raise_anything_else(message: Message, seed: int) -> None:
    rng = Random(seed)
    data = bytearray(encode(message))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    for decode in (decode_from_node, decode_from_brain):
        with contextlib.suppress(ControlMessageError):
            decoded = decode(bytes(data))
            assert decode(encode(decoded)) == decoded
