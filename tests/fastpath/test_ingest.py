"""Tracks on an ingest port: told apart, locked, split, marked; what a viewer makes of them."""

from __future__ import annotations

import itertools

import pytest

from fastpath import Codec, PortKind
from fastpath.events import IngestSource
from rtp.packet import HeaderExtension, RtpPacket
from rtp.payload.h264_packets import assemble, join_stap_a, packetize
from rtp.payload.marks import Marks
from tests.support.chain import key_slice, other_slice, rtp
from tests.support.edge import ENCODER, Edge, Viewer, pli, plis_in
from tests.support.encoder import Encoder

MAX_RTP_BYTES = 1_436
FRAME_TICKS = 3_000
SPS, PPS = b"\x67\x42\xe0\x1f" + bytes(range(9)), b"\x68\xce\x3c\x80"
SETS = join_stap_a([SPS, PPS])
IDR = key_slice(bytes(n * 7 & 255 for n in range(4_000)))
P_SLICE = other_slice(bytes(n * 11 & 255 for n in range(5_000)))
START = Marks.FRAME_START | Marks.GOP_START | Marks.KEY


class Camera:
    """Access units as RTP; sequence numbers and timestamps are about to wrap."""

    def __init__(self, *, payload_type: int = 96, ssrc: int = 0x1234, number: int = 65_533) -> None:
        self.payload_type, self.ssrc, self.number = payload_type, ssrc, number
        self.timestamp = (1 << 32) - FRAME_TICKS

    def unit(self, payloads: list[bytes]) -> list[bytes]:
        packets = []
        for place, payload in enumerate(payloads):
            packets.append(
                rtp(
                    self.number,
                    self.timestamp,
                    payload,
                    marker=place == len(payloads) - 1,
                    payload_type=self.payload_type,
                    ssrc=self.ssrc,
                )
            )
            self.number += 1
        self.timestamp += FRAME_TICKS
        return packets


def units_of(packets: list[bytes]) -> list[list[bytes]]:
    """NAL units of each access unit, from RTP in order; numbers without a gap, one marker each."""
    parsed = [RtpPacket.parse(packet) for packet in packets]
    for before, after in itertools.pairwise(parsed):
        assert after.sequence_number == (before.sequence_number + 1) & 0xFFFF
    units: list[list[bytes]] = []
    waiting: list[bytes] = []
    for at, packet in enumerate(parsed):
        waiting.append(packet.payload)
        is_last = at + 1 == len(parsed) or parsed[at + 1].timestamp != packet.timestamp
        assert packet.marker == is_last
        if packet.marker:
            units.append(assemble(waiting))
            waiting = []
    return units


# -- tracks


def test_four_tracks_share_a_port_and_a_fifth_is_refused() -> None:
    edge = Edge()
    streams = [edge.add_track(96 + n) for n in range(4)]
    viewers = [edge.add_viewer(stream) for stream in streams]
    edge.add_track(100)
    cameras = [Camera(payload_type=96 + n, ssrc=0x1000 + n) for n in range(5)]
    for n, camera in enumerate(cameras):
        edge.encode(*camera.unit([key_slice(b"track %d" % n)]))
    counted = edge.counted()
    assert counted["command_stale"] == 1
    assert counted["ingest_payload_type"] == 1
    assert [edge.media(viewer)[0][14:] for viewer in viewers] == [b"track %d" % n for n in range(4)]


def test_a_removed_tracks_place_is_used_again_and_the_others_go_on() -> None:
    edge = Edge()
    streams = [edge.add_track(96 + n) for n in range(4)]
    others = [edge.add_viewer(stream) for stream in streams if stream != streams[1]]
    cameras = [Camera(payload_type=96 + n, ssrc=0x1000 + n) for n in range(5)]
    for camera in cameras[:4]:
        edge.encode(*camera.unit([key_slice(b"first")]))
    edge.engine.remove_stream(streams[1])
    fifth = edge.add_viewer(edge.add_track(100))
    for camera in cameras:
        edge.encode(*camera.unit([key_slice(b"second")]))
    assert edge.counted()["ingest_payload_type"] == 1  # of the removed one
    assert "command_stale" not in edge.counted()
    assert [data[14:] for data in edge.media(fifth)] == [b"second"]
    for viewer in others:
        assert [data[14:] for data in edge.media(viewer)] == [b"first", b"second"]


def test_a_payload_type_given_to_another_stream_leaves_the_first_one_without() -> None:
    edge = Edge()
    old, new = edge.add_track(96, stream_id=5), edge.add_track(96, stream_id=6)
    viewers = [edge.add_viewer(old), edge.add_viewer(new)]
    edge.engine.remove_stream(old)  # it has no claim on the track that was its own
    edge.encode(*Camera().unit([key_slice()]))
    assert [len(edge.media(viewer)) for viewer in viewers] == [0, 1]


def test_each_track_locks_on_to_its_own_ssrc_and_follows_its_own_restart() -> None:
    edge = Edge()
    audio = edge.add_track(111, Codec.OPUS, clock_rate=48_000)
    video = edge.add_track(96)
    ears, eyes = edge.add_viewer(audio), edge.add_viewer(video)
    voice = Camera(payload_type=111, ssrc=1)
    camera = Camera(ssrc=2)
    for _ in range(5):
        edge.encode(*voice.unit([b"\xf8sound"]), *camera.unit([key_slice()]), after_us=20_000)
    again = Camera(ssrc=3, number=9)
    edge.encode(*again.unit([key_slice(b"stray")]))
    assert edge.counted()["ingest_other_ssrc"] == 1
    for n in range(15):
        edge.encode(*voice.unit([b"\xf8sound"]), after_us=20_000)
        if n > 12:  # the old one is silent for more than 250 ms
            edge.encode(*again.unit([key_slice(b"again")]))
    assert [event for event in edge.events if isinstance(event, IngestSource)] == [
        IngestSource(audio, 1, False),
        IngestSource(video, 2, False),
        IngestSource(video, 3, True),
    ]
    assert edge.engine.stream_stats(audio).packets == len(edge.media(ears)) == 20
    assert [data[14:] for data in edge.media(eyes)] == [b""] * 5 + [b"again"] * 2
    numbers = [int.from_bytes(data[2:4]) for data in edge.media(eyes)]
    assert numbers == [(65_530 + n) & 0xFFFF for n in range(7)]


def test_rtp_time_goes_on_when_the_encoder_begins_anew() -> None:
    """With another base, across the wrap, twice; SSRC and numbers of the viewer go on too."""
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track())
    interval_us = 40_000
    for ssrc, base in ((1, 2**32 - 50_000), (2, 4_026_531_840), (3, 17)):
        for n in range(25):
            payload = other_slice(b"x") if n else key_slice(b"x")
            packet = rtp(100 + n, base + 3_600 * n, payload, marker=True, ssrc=ssrc)
            edge.encode(packet, after_us=interval_us)
        edge.now_us += 1_000_000  # it is away for a second
    got = edge.media(viewer)
    assert len(got) == 3 * 25
    assert {data[8:12] for data in got} == {got[0][8:12]}
    numbers = [int.from_bytes(data[2:4], "big") for data in got]
    assert {b - a & 0xFFFF for a, b in itertools.pairwise(numbers)} == {1}
    times = [int.from_bytes(data[4:8], "big") for data in got]
    steps = [b - a & 0xFFFFFFFF for a, b in itertools.pairwise(times)]
    away = 90_000 + 3_600
    assert steps == [*[3_600] * 24, away, *[3_600] * 24, away, *[3_600] * 24]
    assert edge.engine.stream_stats(edge.streams[0]).packets == 3 * 25


def test_two_strays_do_not_take_over_a_slow_track() -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track())
    for n in range(30):  # three frames a second
        payload = other_slice(b"x") if n else key_slice(b"x")
        edge.encode(rtp(n, 30_000 * n, payload, marker=True), after_us=333_000)
        if n % 5 == 4:
            for after_us in (280_000, 1_000):
                edge.encode(rtp(9_000, 1, key_slice(b"stray"), ssrc=0xBAD), after_us=after_us)
    assert edge.counted()["ingest_other_ssrc"] == 12
    assert len(edge.media(viewer)) == 30


def test_a_restarted_encoder_with_the_old_timestamps_begins_a_gop() -> None:
    edge = Edge()
    edge.add_neighbour(edge.add_track())
    edge.encode(*Camera(ssrc=1).unit([key_slice()]))
    edge.encode(*Camera(ssrc=2).unit([SPS, PPS, key_slice()]), after_us=1_500_000)
    starts = [bool(leg.marks & Marks.GOP_START) for leg in edge.legs()]
    assert starts == [True, True, False, False]


def test_what_is_older_than_a_restart_takes_no_place_from_before_it() -> None:
    edge = Edge()
    edge.add_neighbour(edge.add_track())
    old = Encoder(ssrc=1)
    first = old.gop(5)
    edge.encode(first[0], first[1], first[2], first[4])  # stream_seq 4 is lost
    new = Encoder(ssrc=2, first_number=65_534)
    second = new.gop(4)
    edge.encode(second[2], after_us=1_500_000)
    edge.encode(second[1], second[0], second[3])
    assert [leg.stream_seq for leg in edge.legs()] == [1, 2, 3, 5, 6, 7]
    assert edge.counted()["too_old_for_ring"] == 2


def test_a_closed_ports_streams_have_no_claim_on_the_next_port_in_its_place() -> None:
    edge = Edge(ports=3)
    old = edge.add_track(96, stream_id=5)
    edge.encode(*Camera(ssrc=1).unit([key_slice()]))
    edge.engine.close_port(edge.rtcp_port)
    edge.engine.close_port(edge.port)
    edge.port = edge.engine.open_port(PortKind.INGEST)
    new = edge.add_track(96, stream_id=6)
    watcher, viewer = edge.add_viewer(old), edge.add_viewer(new)
    camera = Camera(ssrc=2)
    edge.encode(*camera.unit([key_slice()]))
    edge.view(watcher, pli(watcher.ssrc))
    assert edge.to_encoder(ENCODER) == []  # the new port's encoder is not the old stream's
    edge.engine.remove_stream(old)
    edge.encode(*camera.unit([key_slice()]))
    assert len(edge.media(viewer)) == 2


def test_rtcp_of_a_closed_rtp_port_goes_nowhere() -> None:
    edge = Edge()
    edge.add_track()
    edge.turn()
    edge.engine.close_port(edge.port)
    edge.encode(b"\x80\xc9\0\1\0\0\0\1", port=edge.rtcp_port)
    assert edge.counted() == {"ingest_unassigned": 1}


# -- padding


def test_padding_is_renumbered_over_at_the_wrap() -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track())
    for n in range(65_500, 65_600):
        padding = RtpPacket(96, n & 0xFFFF, 3_000 * (n // 3), 0x1234, padding_bytes=200)
        is_probe = n % 3 == 2
        edge.encode(padding.serialise() if is_probe else rtp(n, 3_000 * n, key_slice(b"%d" % n)))
    got = edge.media(viewer)
    assert [int(data[14:]) for data in got] == [n for n in range(65_500, 65_600) if n % 3 != 2]
    assert [int.from_bytes(data[2:4]) for data in got] == [
        (65_530 + n) & 0xFFFF for n in range(len(got))
    ]
    assert edge.counted()["ingest_padding"] == 33


# -- packets too large for a link


def big_units() -> dict[str, list[bytes]]:
    """Access units by how an encoder may send them, each with a packet above 1,436 bytes."""
    fragments = packetize([IDR], 2_500)
    assert len(fragments) == 2
    return {
        "single": [IDR],
        "fu_a": fragments,
        "stap_a": [join_stap_a([SPS, PPS, IDR])],
        "stap_a_of_small": [join_stap_a([SPS, PPS, IDR[:1_000], b"\x65\x48" + IDR[:900]])],
        "mixed": [SETS, *packetize([IDR], 1_900), b"\x65\x48" + IDR[:1_500]],
    }


@pytest.mark.parametrize("payloads", list(big_units().values()), ids=list(big_units()))
def test_large_h264_packets_reach_viewers_in_pieces_bit_by_bit(payloads: list[bytes]) -> None:
    edge = Edge()
    stream = edge.add_track()
    viewer = edge.add_viewer(stream)
    edge.add_neighbour(stream)
    camera = Camera()
    sent = []
    for n in range(12):
        unit = payloads if n % 4 == 0 else packetize([P_SLICE, other_slice(b"%d" % n)], 3_000)
        sent.append(assemble(unit))
        edge.encode(*camera.unit(unit), after_us=33_333)
    got = edge.media(viewer)
    assert max(len(data) for data in got) <= MAX_RTP_BYTES
    assert units_of(got) == sent
    legs = edge.legs()
    assert [leg.stream_seq for leg in legs] == list(range(1, len(legs) + 1))
    starts = [leg for leg in legs if leg.marks & Marks.FRAME_START]
    assert len({leg.rtp[4:8] for leg in starts}) == len(starts) == 12
    ends = [leg for leg in legs if leg.marks & Marks.FRAME_END]
    assert [bool(leg.rtp[1] & 0x80) for leg in ends] == [True] * 12
    gops = [leg for leg in legs if leg.marks & Marks.GOP_START]
    assert len(gops) == 3
    assert all(leg.marks & START == START for leg in gops)
    assert edge.engine.stream_stats(stream).key_frames == 3
    assert edge.counted()["ingest_split"] >= 3
    assert "ingest_duplicate" not in edge.counted()


def test_large_vp8_packets_keep_their_descriptor_and_their_frame() -> None:
    edge = Edge()
    stream = edge.add_track(97, Codec.VP8)
    viewer = edge.add_viewer(stream)
    edge.add_neighbour(stream)
    camera = Camera(payload_type=97)
    descriptor = bytes([0x90, 0x80, 0x81, 0x23])  # X and S; I with a picture id of 15 bits
    frames = []
    for n in range(4):
        first = b"\x10\x02\x00\x9d\x01\x2a" if n == 0 else b"\x11\x02\x00"  # bit 0: no key frame
        frames.append(first + bytes(n * 13 + at & 255 for at in range(4_000)))
        edge.encode(*camera.unit([descriptor + frames[-1]]), after_us=33_333)
    got = [RtpPacket.parse(data) for data in edge.media(viewer)]
    assert [packet.sequence_number for packet in got] == [
        (65_530 + n) & 0xFFFF for n in range(len(got))
    ]
    joined: list[bytes] = []
    for packet in got:
        is_start = bool(packet.payload[0] & 0x10)
        assert bytes([packet.payload[0] | 0x10]) + packet.payload[1:4] == descriptor
        joined = [*joined, b""] if is_start else joined
        joined[-1] += packet.payload[4:]
    assert joined == frames
    legs = edge.legs()
    assert [leg.stream_seq for leg in legs if leg.marks & Marks.GOP_START] == [1]
    assert sum(bool(leg.marks & Marks.FRAME_START) for leg in legs) == 4
    assert sum(bool(leg.marks & Marks.FRAME_END) for leg in legs) == 4


def test_header_extension_and_csrcs_stay_with_every_piece() -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track())
    extension = HeaderExtension(0xBEDE, b"\x10\xaa\x00\x00")
    whole = RtpPacket(96, 65_535, 9, 0x1234, IDR, True, (5, 6), extension, padding_bytes=8)
    edge.encode(whole.serialise())
    got = [RtpPacket.parse(data) for data in edge.media(viewer)]
    assert len(got) == 3
    assert assemble([packet.payload for packet in got]) == [IDR]
    assert {(packet.csrc, packet.extension) for packet in got} == {((5, 6), extension)}
    assert [packet.marker for packet in got] == [False, False, True]
    assert [packet.padding_bytes for packet in got] == [0, 0, 0]


@pytest.mark.parametrize(
    ("payload", "padding_bytes", "codec"),
    [
        (other_slice(bytes(1_400)), 252, Codec.H264),
        (join_stap_a([other_slice(bytes(1_424))[:1_424]]), 0, Codec.H264),
        (b"\x90\x80\x81\x23\x11" + bytes(1_400), 80, Codec.VP8),
        (b"\xf8" + bytes(1_300), 200, Codec.OPUS),
    ],
    ids=["padded_h264", "aggregate_of_one", "padded_vp8", "padded_opus"],
)
def test_a_packet_that_is_too_large_only_by_what_nobody_needs_goes_without_it(
    payload: bytes, padding_bytes: int, codec: Codec
) -> None:
    edge = Edge()
    stream = edge.add_track(97, codec)
    edge.add_neighbour(stream)
    whole = RtpPacket(97, 65_535, 9, 0x1234, payload, True, padding_bytes=padding_bytes)
    assert len(whole.serialise()) > MAX_RTP_BYTES
    small = other_slice() if codec == Codec.H264 else payload[:200]
    edge.encode(whole.serialise(), rtp(0, 9, small, payload_type=97))
    large, after = edge.legs()
    assert len(large.rtp) <= MAX_RTP_BYTES
    got = RtpPacket.parse(large.rtp)
    assert (got.marker, got.padding_bytes) == (True, 0)
    units = assemble([got.payload]) if codec == Codec.H264 else got.payload
    assert units == (assemble([payload]) if codec == Codec.H264 else payload)
    assert after.stream_seq == large.stream_seq + 1
    assert "ingest_split" not in edge.counted()


@pytest.mark.parametrize("payload", [b"\x1c\x80" + bytes(1_500), b"\x78" + bytes(1_500)])
def test_a_large_packet_that_cannot_be_split_is_counted(payload: bytes) -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track())
    camera = Camera()
    edge.encode(*camera.unit([key_slice()]))
    edge.encode(*camera.unit([payload]))
    edge.encode(*camera.unit([other_slice()]))
    counted = edge.counted()
    assert counted.get("ingest_oversized", 0) + counted.get("ingest_malformed", 0) == 1
    numbers = [int.from_bytes(data[2:4]) for data in edge.media(viewer)]
    assert numbers == [65_530, 65_532]  # a loss, as it is one


def test_an_audio_packet_is_never_split() -> None:
    edge = Edge()
    edge.add_track(111, Codec.OPUS, clock_rate=48_000)
    edge.encode(rtp(1, 2, b"\xf8" + bytes(1_500), payload_type=111))
    assert edge.counted() == {"ingest_oversized": 1}


def test_a_split_packet_that_comes_late_has_no_room_and_harms_no_other() -> None:
    edge = Edge()
    stream = edge.add_track()
    viewer = edge.add_viewer(stream)
    camera = Camera(number=65_532)
    small, large = camera.unit([key_slice()]), camera.unit([P_SLICE])
    after = [camera.unit([other_slice(b"%d" % n)])[0] for n in range(4)]
    edge.encode(*small, after[0], *large, *after[1:], *large)
    assert edge.counted()["ingest_late_split"] == 2
    got = edge.media(viewer)
    assert [data[12:] for data in got] == [small[0][12:]] + [packet[12:] for packet in after]
    numbers = [int.from_bytes(data[2:4]) for data in got]
    assert numbers == [65_530, 65_532, 65_533, 65_534, 65_535]


# -- parameter sets of the configuration


def view_of(
    units: list[list[bytes]], *, lost: tuple[int, ...] = (), sets: bytes = SETS
) -> tuple[Edge, Viewer]:
    edge = Edge()
    stream = edge.add_track(parameter_sets=sets)
    viewer = edge.add_viewer(stream)
    edge.add_neighbour(stream)
    camera = Camera()
    place = 0
    for unit in units:
        for packet in camera.unit(unit):
            if place not in lost:
                edge.encode(packet, after_us=1_000)
            place += 1
    return edge, viewer


def test_configured_parameter_sets_go_before_each_key_frame_without_and_no_other() -> None:
    p = [other_slice(b"p")]
    units = [[key_slice(b"1")], p, p, [key_slice(b"2"), b"\x65\x48more"], p, [SPS, PPS, IDR], p]
    edge, viewer = view_of([*units, [SETS, key_slice(b"3")], p])
    assert units_of(edge.media(viewer)) == [
        [SPS, PPS, key_slice(b"1")],
        p,
        p,
        [SPS, PPS, key_slice(b"2"), b"\x65\x48more"],
        p,
        [SPS, PPS, IDR],
        p,
        [SPS, PPS, key_slice(b"3")],
        p,
    ]
    assert edge.counted()["ingest_parameter_sets"] == 2
    gops = [leg for leg in edge.legs() if leg.marks & Marks.GOP_START]
    assert [leg.rtp[12:] for leg in gops] == [SETS, SETS, SPS, SETS]
    assert [leg.marks & START for leg in gops] == [START] * 4
    assert [bool(leg.rtp[1] & 0x80) for leg in gops] == [False] * 4
    frames = [leg.rtp[4:8] for leg in edge.legs() if leg.marks & Marks.FRAME_START]
    assert len(frames) == len(set(frames)) == 9


@pytest.mark.parametrize("form", ["single", "fu_a", "aggregate"])
def test_a_large_key_frame_gets_sets_and_is_split_in_one_go(form: str) -> None:
    unit = {
        "single": [IDR],
        "fu_a": packetize([IDR], 2_500),
        "aggregate": [join_stap_a([b"\x06\x05abc", IDR])],
    }[form]
    p = [other_slice(b"p")]
    edge, viewer = view_of([unit, p, unit, p])
    assert units_of(edge.media(viewer)) == [[SPS, PPS, *assemble(unit)], p] * 2
    legs = edge.legs()
    assert [leg.stream_seq for leg in legs] == list(range(1, len(legs) + 1))
    assert [leg.rtp[12:] for leg in legs if leg.marks & Marks.GOP_START] == [SETS, SETS]
    assert sum(bool(leg.marks & Marks.FRAME_START) for leg in legs) == 4


def test_a_repeated_key_packet_brings_no_second_sets() -> None:
    edge = Edge()
    stream = edge.add_track(parameter_sets=SETS)
    viewer = edge.add_viewer(stream)
    camera = Camera(number=65_535)
    unit = camera.unit([key_slice()])
    edge.encode(*unit, *unit)
    edge.encode(*camera.unit([other_slice()]), *unit)
    assert units_of(edge.media(viewer)) == [[SPS, PPS, key_slice()], [other_slice()]]
    assert edge.counted()["ingest_duplicate"] == 2


# -- where a GoP starts


def test_a_delimiter_alone_leaves_the_gop_to_the_first_key_content() -> None:
    edge, viewer = view_of([[b"\x09\xf0", SPS, PPS, key_slice()], [other_slice()]] * 2, sets=b"")
    gops = [leg.rtp[12:] for leg in edge.legs() if leg.marks & Marks.GOP_START]
    assert gops == [SPS, SPS]
    late = edge.add_viewer(edge.streams[0])
    edge.turn()
    assert edge.media(late)[0][12:] == b"\x09\xf0"  # a whole frame is there
    assert len(edge.media(viewer)) == 9  # it waited for the first SPS


def test_the_rest_of_a_key_frame_whose_first_packet_is_lost_starts_nothing() -> None:
    whole = packetize([IDR], 1_000)
    assert len(whole) > 3
    p = [other_slice(b"p")]
    edge, viewer = view_of([whole, p, whole, p], lost=(len(whole) + 1,), sets=SETS)
    assert edge.counted()["ingest_parameter_sets"] == 1
    assert [leg.rtp[12:] for leg in edge.legs() if leg.marks & Marks.GOP_START] == [SETS]
    late = edge.add_viewer(edge.streams[0])
    edge.turn()
    assert edge.media(late)[0][12:] == SETS
    assert len(edge.media(late)) == len(edge.media(viewer))  # from the whole key frame on


def test_an_encoder_caught_in_the_middle_of_a_key_frame_starts_at_the_next() -> None:
    whole = packetize([IDR], 1_000)
    p = [other_slice(b"p")]
    edge, viewer = view_of([whole, p, whole, p], lost=(0, 1), sets=b"")
    assert units_of(edge.media(viewer)) == [[IDR], p]


def test_key_frames_that_overtake_one_another_start_where_they_start() -> None:
    """All pictures are key frames; packets of neighbouring ones come in the wrong order."""
    edge = Edge()
    edge.add_neighbour(edge.add_track())
    camera = Camera()
    slices = [key_slice(b"1"), b"\x65\x48two", b"\x65\x44three"]
    first, second, third = (camera.unit(slices) for _ in range(3))
    edge.encode(first[0], first[1], second[0], first[2], second[1], second[2])
    edge.encode(third[1], third[0], third[2])
    starts = [leg.rtp for leg in edge.legs() if leg.marks & Marks.GOP_START]
    assert starts == [first[0], second[0], third[0]]


def test_a_viewer_begins_at_the_sps_however_late_the_pps_came() -> None:
    edge = Edge()
    stream = edge.add_track()
    camera = Camera(number=65_534)
    first, unit = camera.unit([key_slice()]), camera.unit([SPS, PPS, key_slice()])
    edge.encode(*first, unit[0], unit[2], unit[1], *camera.unit([other_slice()]))
    viewer = edge.add_viewer(stream)
    edge.turn()
    assert units_of(edge.media(viewer)) == [[SPS, PPS, key_slice()], [other_slice()]]


def test_parameter_sets_of_their_own_packets_start_one_gop_whatever_is_lost_between() -> None:
    unit = [SPS, PPS, b"\x06\x05abc", key_slice()]
    for lost in ((), (1,), (2,), (1, 2)):
        edge, _ = view_of([unit, [other_slice()]], lost=lost, sets=b"")
        starts = [leg.rtp[12:] for leg in edge.legs() if leg.marks & Marks.GOP_START]
        assert starts == [SPS], lost


# -- the encoder is asked


def test_a_lost_pli_is_repeated_until_a_key_frame_comes() -> None:
    edge = Edge()
    stream = edge.add_track()
    camera = Camera()
    edge.encode(*camera.unit([other_slice()]))
    edge.add_viewer(stream)  # it says nothing, and waits for a key frame
    for _ in range(40):
        edge.encode(*camera.unit([other_slice()]), after_us=50_000)
    asked = [time_us for time_us, packets in edge.to_encoder(ENCODER) if plis_in(packets)]
    assert len(asked) == 4
    assert all(b - a >= 500_000 for a, b in itertools.pairwise(asked))
    for n in range(40):
        edge.encode(*camera.unit([other_slice() if n else key_slice()]), after_us=50_000)
    assert len(edge.to_encoder(ENCODER)) == len(asked)
