"""More than a hundred wraps of every number, with a loss and a swap at each: all once, in full."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

import pytest

from fastpath import Media, PortKind
from lab.link import LinkConfig
from rtp.sequence import difference
from tests.support.chain import STREAM_ID, VIEWER, Chain, key_slice, other_slice, rtp
from tests.support.faults import MEDIA, Faults, Leg, media_to, up
from tests.support.peer import CLASS_VIDEO, FEEDBACK, PeerBench, header, media_payload, seal

WRAPS = 101
HOP = LinkConfig(delay_us=5_000)
GOP_START, FRAME_END, FRAME_START, KEY = 1, 2, 4, 16
KEY_FRAME = GOP_START | FRAME_END | FRAME_START | KEY
OTHER_FRAME = FRAME_END | FRAME_START
BURST = 12
LEAP = 2**31 - 20_000  # the farthest that a number may go ahead, less a burst
CLOCK = 4  # feedback message


class Viewed(PeerBench):
    """A stream from PEER with one plain-RTP viewer; packets carry an index of their own."""

    def __init__(self, **options: object) -> None:
        self.got: list[bytes] = []
        self.reports: list[bytes] = []
        self.sent = 0
        super().__init__(**options)  # type: ignore[arg-type]
        self.viewer_port = self.engine.open_port(PortKind.VIEWER)
        self.viewer_link = self.engine.add_viewer_link(rate_bps=1_000_000_000)
        if self.stream >= 0:
            self.watch(self.stream)

    def watch(self, stream: int, *, first_number: int = 65_530) -> None:
        self.engine.add_viewer_cursor(
            stream=stream,
            link=self.viewer_link,
            port=self.viewer_port,
            address=VIEWER,
            ssrc=0xABCD,
            payload_type=100,
            first_sequence_number=first_number,
            rtcp_address=(VIEWER[0], VIEWER[1] + 1),
        )

    def turn(self, *datagrams: bytes, **where: object) -> list[bytes]:
        sent = super().turn(*datagrams, **where)  # type: ignore[arg-type]
        rtp_and_rtcp = [data for data in sent if data[0] >> 6 == 2]
        self.got += [data for data in rtp_and_rtcp if data[1] & 127 == 100]
        self.reports += [data for data in rtp_and_rtcp if data[1] == 200]
        return sent

    def burst(self, stream_seq: int, hop_seq: int, stream_id: int = STREAM_ID) -> None:
        """A key frame and eleven others: the fourth is lost and repaired, the eighth comes late."""
        made = []
        for n in range(BURST):
            self.sent += 1
            fields = {
                "marks": OTHER_FRAME if n else KEY_FRAME,
                "stream_seq": stream_seq + n,
                "stream_id": stream_id,
            }
            hop = hop_seq + n
            if n == 3:
                fields["repairs"] = hop & 0xFFFFFFFF
                hop = hop_seq + BURST
            made.append(self.packet(media_payload(self.sent), hop_seq=hop, tag_key=None, **fields))
        made[3:] = [made[4], *made[5:7], *made[8:], made[7], made[3]]
        for data in made:
            self.turn(data)

    def indexes(self) -> list[int]:
        return [int(data[14:20]) for data in self.got]


def numbers(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(data[2:4]) for data in packets]


def assert_once_and_in_full(bench: Viewed) -> None:
    assert sorted(bench.indexes()) == list(range(1, bench.sent + 1))
    by_index = [data for _, data in sorted(zip(bench.indexes(), bench.got, strict=True))]
    steps = {difference(b, a, 16) for a, b in zip(numbers(by_index), numbers(by_index)[1:])}  # noqa: B905
    assert steps == {1}


def test_hop_seq_and_stream_seq_of_one_link_and_stream() -> None:
    """Each burst lies across a multiple of 2^31 of the link's numbers, and of the stream's."""
    bench = Viewed(with_stream=False)
    bench.stream = bench.engine.add_stream(
        stream_id=STREAM_ID, media=Media.VIDEO, first_stream_seq=2**31 - 6, upstream=bench.link
    )
    bench.watch(bench.stream)
    hop_seq = 0
    for half in range(1, 2 * WRAPS + 1):
        target = half * 2**31 - 6
        while target - hop_seq > LEAP:
            hop_seq += LEAP
            bench.turn(bench.probe(hop_seq=hop_seq))
        bench.burst(target, target)
        hop_seq = target + BURST
        bench.wait(1_100_000)  # what the leap skipped is given up
    stats = bench.engine.link_stats(bench.link)
    assert (stats.repaired, stats.reordered) == (2 * WRAPS, 2 * WRAPS)
    assert stats.received_packets == 2 * WRAPS * (BURST + 1)
    assert bench.engine.stream_stats(bench.stream).restarts == 2 * WRAPS - 1
    assert_once_and_in_full(bench)


def media_numbered(destination: int, first: int) -> Callable[[Leg], bool]:
    """Media on the hop into that node whose number is one of eight."""
    return lambda leg: (
        leg.kind == MEDIA
        and leg.destination == destination
        and (leg.hop_seq - first) & 0xFFFFFFFF < 8
    )


@pytest.mark.parametrize("lost", range(4))
def test_hop_seq_of_what_an_engine_sends(lost: int) -> None:
    """Links that took over their keys just before a wrap of the low 32 bits; repairs across it."""
    for wrap in range(1, WRAPS // 4 + 2):
        chain = Chain([HOP, HOP], first_hop_seq=((4 * wrap + lost) << 32) - 30)
        faults = Faults(chain)
        chain.run(100_000)
        chain.add_viewer()
        near = 0xFFFFFFFE + lost  # the last two before, the first two after
        for hop in (1, 2):
            faults.lose(media_numbered(hop, near))
        for n in range(4 * BURST):
            body = f"{n:08}".encode()
            chain.encode(rtp(65_530 + n, 3_000 * n, other_slice(body) if n else key_slice(body)))
            chain.run(3_000)
        chain.run(300_000)
        got = [int(data[14:22]) for _, data in chain.viewer_packets]
        assert sorted(got) == list(range(4 * BURST))
        assert len(faults.lost) == 2
        for node in (1, 2):
            stats = up(chain, node)
            assert (stats.lost, stats.repaired, stats.given_up) == (1, 1, 0)
            sent = [leg.hop_seq for leg in faults.legs if leg.destination == node]
            assert max(sent) > 0xFFFFFF00
            assert min(sent) < 0xFF


def test_old_numbers_of_each_round_are_replays_or_forgeries() -> None:
    """The same low half, one round later, is another number: the tag covers the high half."""
    bench = Viewed()
    hop_seq = 1
    for _ in range(2 * WRAPS):
        packet = bench.media(1, hop_seq=hop_seq)
        bench.turn(packet)
        head = header(stream_seq=2, hop_seq=hop_seq + 5)
        bench.turn(packet, seal(head, media_payload(2), bench.receive_key, (hop_seq >> 32) + 1))
        hop_seq += LEAP
    counted = bench.counted()
    assert counted["replayed"] == counted["bad_tag"] == 2 * WRAPS
    assert bench.engine.stream_stats(bench.stream).packets == 1


@pytest.mark.parametrize("seed", range(3))
def test_streams_that_begin_before_a_wrap(seed: int) -> None:
    rng = Random(seed)
    bench = Viewed(with_stream=False)
    hop_seq = 1
    for number in range(WRAPS):
        first = 2**32 - rng.randrange(1, BURST)
        stream = bench.engine.add_stream(
            stream_id=number + 1, media=Media.VIDEO, first_stream_seq=first, upstream=bench.link
        )
        bench.got, bench.sent = [], 0
        bench.watch(stream, first_number=rng.randrange(65_536 - BURST, 65_536))
        bench.turn()
        bench.burst(first, hop_seq, number + 1)
        assert_once_and_in_full(bench)
        hop_seq += BURST + 1
        assert bench.engine.stream_stats(stream).next_stream_seq == first + BURST - 2**32
        bench.engine.remove_stream(stream)
    assert bench.engine.link_stats(bench.link).given_up == 0


def test_rtp_numbers_and_timestamps_from_encoder_to_viewer() -> None:
    """Both wrap at every burst: encoder's and viewer's 16 bits, and 32 bits of RTP time."""
    chain = Chain([HOP, HOP])
    faults = Faults(chain)
    chain.run(100_000)
    chain.add_viewer()
    number, seq, timestamp, made = 65_530, 1, 2**32 - 18_000, 0
    stride = 65_536 // 23  # less than RFC 3550's MAX_DROPOUT of 3,000
    sent: list[bytes] = []
    for wrap in range(WRAPS):
        faults.lose(media_to(1 + wrap % 2, seq + 5))
        faults.hold(media_to(1 + wrap % 2, seq + 7))
        for n in range(BURST):
            body = f"{made:08}".encode()
            slice_ = other_slice(body) if n else key_slice(body)
            sent.append(rtp(number + n, timestamp + 3_000 * n, slice_))
            made += 1
            chain.encode(sent[-1])
            chain.run(1_000)
            if n == 9:
                faults.release()
        chain.run(60_000)
        for step in range(1, 23):
            body = f"{made:08}".encode()
            at = timestamp + step * (2**32 // 23)
            sent.append(rtp(number + step * stride, at, other_slice(body)))
            made += 1
            chain.encode(sent[-1])
            chain.run(1_000)
        chain.run(60_000)
        number, seq, timestamp = number + 65_536, seq + 65_536, timestamp + 2**32
    got = {int(data[14:22]): data for _, data in chain.viewer_packets}
    assert len(got) == len(chain.viewer_packets) == len(sent)
    first = int.from_bytes(got[0][2:4])
    for index, packet in enumerate(sent):
        data = got[index]
        assert data[4:8] == packet[4:8]
        assert (int.from_bytes(data[2:4]) - first) & 0xFFFF == (
            int.from_bytes(packet[2:4]) - 65_530
        ) & 0xFFFF
    assert len(faults.lost) == WRAPS
    assert sum(up(chain, node).repaired for node in (1, 2)) >= WRAPS
    assert up(chain, 1).given_up == up(chain, 2).given_up == 0


def test_send_ts_is_the_time_whatever_it_is() -> None:
    """Microseconds in 32 bits: once each 71 minutes, here each burst."""
    chain = Chain([HOP])
    faults = Faults(chain)
    chain.run(100_000)
    chain.add_viewer()
    made = 0
    for wrap in range(1, WRAPS + 1):
        chain.now_us = wrap * 2**32 - 100_000
        chain.run(60_000)  # the link is up again
        first = made
        for n in range(BURST):
            body = f"{made:08}".encode()
            chain.encode(rtp(made, 3_000 * made, other_slice(body) if n else key_slice(body)))
            made += 1
            chain.run(8_000)
        chain.run(100_000)
        got = [int(data[14:22]) for _, data in chain.viewer_packets]
        assert got[-BURST:] == list(range(first, made))
    stamped = [leg for leg in faults.legs if leg.kind == MEDIA]
    assert len(stamped) == made
    assert all(leg.data[20:24] == (leg.time_us & 0xFFFFFFFF).to_bytes(4) for leg in stamped)
    assert all(seconds_between(a, b) < 1 for a, b in neighbours_in_a_burst(stamped))


def seconds_between(a: Leg, b: Leg) -> float:
    """As a receiver computes it from 32 bits."""
    return difference(int.from_bytes(b.data[20:24]), int.from_bytes(a.data[20:24]), 32) / 1e6


def neighbours_in_a_burst(legs: list[Leg]) -> list[tuple[Leg, Leg]]:
    return [(legs[i], legs[i + 1]) for i in range(len(legs) - 1) if (i + 1) % BURST]


def test_sender_reports_across_ends_of_the_ntp_era() -> None:
    """NTP seconds wrap in 2036 and each 136 years; RTP time wraps with them here."""
    bench = Viewed()
    for wrap in range(WRAPS):
        ntp = (2**64 - 2**31) & (2**64 - 1)  # half a second before
        timestamp = (2**32 - 45_000 + wrap) & 0xFFFFFFFF
        payload = struct.pack(">BIIQ", CLOCK, STREAM_ID, timestamp, ntp)
        bench.turn(bench.packet(payload, kind=FEEDBACK))
        clock_us, bench.reports = bench.now_us, []
        for n in range(4):
            seq = 4 * wrap + n + 1
            marks = OTHER_FRAME if n else KEY_FRAME
            bench.turn(bench.media(seq, marks=marks, traffic_class=CLASS_VIDEO))
            bench.wait(600_000)
        assert len(bench.reports) >= 2
        times = [struct.unpack(">QI", report[8:20]) for report in bench.reports]
        for reported_ntp, reported_rtp in times:
            elapsed_us = difference(reported_rtp, timestamp, 32) * 1_000_000 // 90_000
            assert 0 <= elapsed_us <= bench.now_us - clock_us + 100
            expected = ntp + (elapsed_us << 32) // 1_000_000
            assert abs(difference(reported_ntp, expected & (2**64 - 1), 64)) < 2**32 // 10_000
        assert times[0][0] > times[-1][0], "the era ends between the first report and the last"


def test_delay_saturates() -> None:
    """0.25 ms in 16 bits, 16 s: a packet that is older stays that old."""
    bench = PeerBench()
    onward = bench.engine.add_link(
        port=bench.port,
        address=("10.0.0.3", 7000),
        peer_node=3,
        hello_key=bench.hello_key,
        rate_bps=100_000_000,
    )
    bench.engine.offer_keys(
        onward, receive_key=bench.receive_key, send_key=bench.send_key, send_now=True
    )
    bench.engine.add_cursor(stream=bench.stream, link=onward)
    bench.turn()
    for n, delay in enumerate((*range(65_400, 65_536), 0, 1)):
        sent = bench.turn(bench.media(n + 1, delay=delay))
        (forwarded,) = [data for data in sent if data[0] == 0xC0]
        left = int.from_bytes(forwarded[6:8])
        assert left == min(delay, 65_535)
    assert bench.engine.stream_stats(bench.stream).delay_us <= 65_535 * 250
