"""One track over more than one SSRC."""

from overlane.play.tracks import AudioTrack, VideoTrack
from rtp.packet import RtpPacket

KEY = b"\x65\x88\x01"


def _packet(number: int, time: int, ssrc: int, payload: bytes = KEY) -> RtpPacket:
    return RtpPacket(
        payload_type=96,
        sequence_number=number,
        timestamp=time,
        ssrc=ssrc,
        payload=payload,
        marker=True,
    )


def test_a_node_that_numbers_afresh_repeats_no_frame() -> None:
    track = VideoTrack()
    first = track.receive(_packet(65_535, 0, 1), 10) + track.receive(_packet(0, 3_000, 1), 20)
    again = track.receive(_packet(500, 3_000, 2), 30) + track.receive(_packet(501, 6_000, 2), 40)
    assert [(unit.epoch, unit.rtp_time) for unit in first + again] == [
        (0, 0),
        (0, 3_000),
        (1, 6_000),
    ]
    assert (track.packets_received, track.packets_lost) == (4, 0)
    assert track.records()[3_000].completed_us == 20


def test_the_second_ssrc_may_bring_what_the_first_did_not() -> None:
    track = VideoTrack()
    track.receive(
        RtpPacket(payload_type=96, sequence_number=1, timestamp=0, ssrc=1, payload=KEY), 10
    )
    (unit,) = track.receive(_packet(7, 0, 2), 30)
    assert unit.epoch == 1
    assert track.records()[0].completed_us == 30


def test_padding_is_no_frame() -> None:
    track = VideoTrack()
    assert track.receive(_packet(1, 0, 1, b""), 10) == []
    assert track.records() == {}
    assert track.packets_received == 1


def test_audio_packets_are_units_and_duplicates_are_not() -> None:
    track = AudioTrack()
    assert track.receive(_packet(65_535, 960, 1, b"a"), 10) is not None
    assert track.receive(_packet(65_535, 960, 1, b"a"), 11) is None
    unit = track.receive(_packet(1, 2_880, 1, b"b"), 12)
    assert unit is not None
    assert unit.first == 65_537
    assert (track.packets_received, track.packets_lost, track.packets_duplicate) == (2, 1, 1)
    assert (track.first_arrival_us, track.last_arrival_us) == (10, 12)
