"""What neighbours do to an engine at random: send, lose, repeat, forge, ask, answer, move."""

from __future__ import annotations

import struct

from fastpath.reference.wire import LOW_32, Header, PacketType, tag
from tests.support.random_overlay import (
    ARRIVALS,
    CLOCK,
    GONE,
    HELLO_KEY,
    KEY_WANTED,
    REQUEST,
    SKIP,
    VOID,
    Overlay,
)


class Neighbours(Overlay):
    """One method for each kind of thing that a neighbour, or somebody who pretends, may send."""

    # -- media

    def media(self) -> None:
        if (found := self.any_source()) is None:
            return
        rng, (source, neighbour) = self.rng, found
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            size = rng.randint(12, self.largest)
            if rng.random() < 0.01:
                size = rng.choice((0, 11, 1436, 1437))
            seq = source.packet(rng, size)
            if rng.random() < 0.95:
                self.transmit_media(neighbour, source, seq)
        source.packets = {seq: source.packets[seq] for seq in list(source.packets)[-400:]}

    def skip(self) -> None:
        """The producer's numbers leap ahead, within what a ring may reach or just beyond."""
        if (found := self.any_source()) is not None:
            found[0].next_seq += self.rng.choice((1, 3, 60, 1000, 1030, 3000, 4094, 4095, 4096))

    def jump(self) -> None:
        """Far ahead; the next packets confirm it, or an older one comes between.

        Never once around: the numbers of one stream stay within half their range."""
        if (found := self.any_source()) is None:
            return
        source, neighbour = found
        far = 1 << 29 if source.jumps < 3 else 1 << 20
        source.jumps += 1
        source.next_seq += self.rng.choice((5_000, 1 << 20, far, far, -50_000))
        seq = source.packet(self.rng, 20)
        self.transmit_media(neighbour, source, seq)
        source.next_seq += self.rng.choice((0, 0, 0, 5, 62, 63, 64))
        if self.rng.random() < 0.3:
            self.transmit_media(neighbour, source, self.rng.choice(list(source.packets)))

    def backfill(self) -> None:
        """A long run of numbers comes late, behind cursors that have passed it."""
        if (found := self.any_source()) is None:
            return
        source, neighbour = found
        first = source.next_seq
        source.next_seq += self.rng.choice((20, 300))
        source.packet(self.rng, 20)
        self.transmit_media(neighbour, source, source.next_seq - 1)
        self.step()
        self.step()
        end, source.next_seq = source.next_seq, first
        while source.next_seq < end - 1:
            self.transmit_media(neighbour, source, source.packet(self.rng, 12))
        source.next_seq = end

    # -- repair

    def answer(self) -> None:
        """What the engine asked for: the packet, VOID, GONE, or nothing."""
        rng = self.rng
        for neighbour in self.neighbours:
            wanted, neighbour.wanted = neighbour.wanted[-60:], []
            void = [n for n in wanted if n not in neighbour.sent]
            for number in wanted:
                if number not in neighbour.sent or rng.random() > self.patience:
                    continue
                stream_id, seq = neighbour.sent[number]
                source = self.source_of(stream_id)
                if source is not None and seq in source.packets and rng.random() < 0.8:
                    self.transmit_media(neighbour, source, seq, repairs=number)
                elif rng.random() < 0.5:
                    fields = (stream_id, seq & LOW_32, rng.choice((1, 2, 40)), number)
                    gone = bytes([GONE]) + struct.pack(">IIII", *fields)
                    self.transmit(neighbour, gone, PacketType.FEEDBACK)
            if void and rng.random() < self.patience:
                items = b"".join(struct.pack(">II", n, 0) for n in void)
                self.transmit(neighbour, bytes([VOID]) + items, PacketType.FEEDBACK)

    def request(self) -> None:
        """Some of what the engine sent lately, or any number at all."""
        rng, neighbour = self.rng, self.any_neighbour()
        pool = neighbour.heard[-rng.choice((3, 40, 300)) :] or [1]
        items = b""
        for _ in range(rng.choice((1, 1, 2, 6))):
            base = rng.choice(pool)
            if rng.random() < 0.1:
                base = rng.choice((0, LOW_32, base + 1, base - 9000, rng.getrandbits(32)))
            bitmap = rng.choice((0, 0, 1, 0x80000000, rng.getrandbits(32), LOW_32))
            items += struct.pack(">II", base & LOW_32, bitmap)
        if rng.random() < 0.03:
            items = items * 40
        if rng.random() < 0.05:
            items += rng.randbytes(rng.randrange(8))
        self.transmit(neighbour, bytes([REQUEST]) + items[:1432], PacketType.FEEDBACK)

    def feedback(self) -> None:
        """VOID and GONE nobody asked for, and messages of no known kind."""
        rng, neighbour = self.rng, self.any_neighbour()
        near = (neighbour.hop_seq - rng.randrange(40)) & LOW_32
        source = self.any_source()
        stream_id, seq = rng.getrandbits(32), rng.getrandbits(32)
        if source is not None:
            stream_id = source[0].stream_id
            seq = (source[0].next_seq - rng.choice((0, 3, 30, 300, 5000))) & LOW_32
        count = rng.choice((0, 1, 5, 100, 6000, LOW_32))
        gone = struct.pack(">IIII", stream_id, seq, count, rng.choice((0, near)))
        void = struct.pack(">II", near, rng.getrandbits(32))
        payload = rng.choice(
            (
                bytes([GONE]) + gone,
                bytes([GONE]) + gone,
                bytes([VOID]) + void,
                bytes([GONE]) + gone[:12],
                rng.randbytes(rng.choice((0, 1, 8, 9, 17, 30))),
            )
        )
        self.transmit(neighbour, payload, PacketType.FEEDBACK)

    def skip_told(self) -> None:
        """The producer's numbers leap over what it says it has left out; or it says so of what it
        sends, or another neighbour does."""
        if (found := self.any_source()) is None:
            return
        rng, (source, neighbour) = self.rng, found
        first = source.next_seq - rng.choice((0, 0, 0, 0, 1, 30, -1))
        count = rng.choice((0, 1, 3, 20, 1000, 4096, 4097, LOW_32))
        if rng.random() < 0.8 and count <= 4096:
            source.next_seq = max(source.next_seq, first + count)
        if rng.random() < 0.1:
            neighbour = self.any_neighbour()
        body = struct.pack(">III", source.stream_id, first & LOW_32, count)
        cut = rng.choice((0, 0, 0, 1))
        self.transmit(neighbour, bytes([SKIP]) + body[: 12 - cut], PacketType.FEEDBACK)

    # -- the rest

    def probe(self) -> None:
        rng, neighbour = self.rng, self.any_neighbour()
        echoed, lay = neighbour.probe_us, self.now_us - neighbour.probed_at_us
        if rng.random() < 0.3:
            lay = max(0, lay - rng.choice((100, 5_000, 40_000, 300_000)))
        if rng.random() < 0.05:
            echoed = rng.choice((0, 1, self.now_us + 99, rng.getrandbits(64)))
        own_us = rng.choice((0, self.now_us, self.now_us, rng.getrandbits(64)))
        payload = struct.pack(">QQI", own_us, echoed, lay & LOW_32)
        if rng.random() < self.curiosity:
            payload += bytes([rng.choice((1, 1, 1, 3, 0))])
        if rng.random() < 0.02:
            payload = payload[: rng.randrange(20)]
        self.transmit(neighbour, payload, PacketType.PROBE)

    def arrivals(self) -> None:
        """When what the engine sent lately came, as a neighbour would tell it, or nonsense."""
        rng, neighbour = self.rng, self.any_neighbour()
        pool = neighbour.heard[-rng.choice((3, 40, 300)) :] or [1]
        base, count = pool[0], min(len(pool) + rng.choice((0, 0, 0, 5)), 300)
        if rng.random() < 0.1:
            base = rng.choice((0, LOW_32, base + 1, base - 9000, rng.getrandbits(32)))
        steps = b""
        for _ in range(count):
            kind = rng.random()
            if kind < 0.15:
                steps += b"\0"
            elif kind < 0.9:
                steps += bytes([rng.choice((65, 65, 66, 80, 1, 254, rng.randint(1, 254)))])
            else:
                steps += b"\xff" + rng.randbytes(2)
        time = self.now_us // 64 if rng.random() < 0.95 else rng.getrandbits(64)
        settled = rng.choice((0, count // 2, count, 65_535))
        body = struct.pack(">IHQ", base & LOW_32, settled, time) + steps
        body = body[: rng.choice((None, None, None, None, 13, 14, 15, -1))]
        self.transmit(neighbour, bytes([ARRIVALS]) + body, PacketType.FEEDBACK)

    def message(self) -> None:
        """Control and HELLO, both ways; padding; types that nobody takes."""
        rng, neighbour = self.rng, self.any_neighbour()
        payload = rng.randbytes(rng.choice((0, 1, 32, 200, 1400, 1401)))
        which = rng.randrange(6)
        if which in (0, 5):
            payload = payload[:1400] or b"."
            name = rng.choice(("send_hello", "send_control"))
            self.twins.call(name, link=neighbour.link, payload=payload)
        elif which == 1:
            key = rng.choice((HELLO_KEY, HELLO_KEY, HELLO_KEY, neighbour.send_key))
            address = rng.choice((neighbour.address, ("10.0.0.78", 7000)))
            node_id = rng.choice((neighbour.node_id, neighbour.node_id, 0, 99))
            head = Header(PacketType.HELLO, stream_id=node_id, hop_seq=rng.randrange(3)).pack()
            for _ in range(rng.choice((1, 1, 12, 25, 25))):
                data = head + tag(head, payload, key, 0, self.digest) + payload
                self.arriving.append((self.port, address, data))
        elif which == 2:
            self.transmit(
                neighbour, payload, PacketType.CONTROL, count=rng.choice((0, 0, 3)), epoch=0
            )
        else:
            kind = rng.choice((PacketType.PADDING, PacketType.DATAGRAM, PacketType.MEDIA))
            fields = {"count": rng.choice((0, 2, 6)), "flags": rng.choice((0, 1, 32, 33, 36))}
            epoch = rng.choice((0, 0, 0, 1))
            self.transmit(neighbour, payload, kind, epoch=epoch, **fields)

    def clock(self) -> None:
        """The producer's clock for a stream, from its upstream or from another neighbour: it goes
        on as time does, or nearly, or another one begins."""
        rng = self.rng
        if (found := self.any_source()) is not None:
            source, neighbour = found
            if rng.random() < 0.1:
                neighbour = self.any_neighbour()
            timestamp = rng.choice((0xFFFFFFFF - rng.randrange(9000), rng.getrandbits(32)))
            if source.clock is not None and rng.random() < 0.7:
                last, told_us = source.clock
                off_us = rng.choice((0, 0, -3_000, 3_000, -450_000, 450_000, -600_000, 600_000))
                passed_us = self.now_us - told_us + off_us
                timestamp = (last + passed_us * source.clock_rate // 1_000_000) & LOW_32
            source.clock = timestamp, self.now_us
            body = struct.pack(">IIQ", source.stream_id, timestamp, rng.getrandbits(64))
            cut = rng.choice((0, 0, 0, 1))
            self.transmit(neighbour, bytes([CLOCK]) + body[: 16 - cut], PacketType.FEEDBACK)

    def want_key(self) -> None:
        """A neighbour cannot go on without a key frame; it may not even follow the stream."""
        if (found := self.any_source()) is not None:
            body = found[0].stream_id.to_bytes(4)[: self.rng.choice((4, 4, 4, 3))]
            self.transmit(self.any_neighbour(), bytes([KEY_WANTED]) + body, PacketType.FEEDBACK)

    def forge(self) -> None:
        """Replays, changed bits, cut ends, wrong ports and addresses, noise."""
        rng = self.rng
        if not self.old or rng.random() < 0.1:
            noise = rng.randbytes(rng.choice((0, 1, 31, 32, 60, 1473)))
            self.arriving.append((self.port, self.any_neighbour().address, noise))
            return
        port, address, data = rng.choice(self.old)
        which = rng.randrange(6)
        if which == 0 and data:
            bit = 1 << rng.randrange(8 * min(len(data), 50))
            data = (int.from_bytes(data[:50]) ^ bit).to_bytes(min(len(data), 50)) + data[50:]
        elif which == 1:
            data = data[: rng.randrange(len(data) + 1)]
        elif which == 2:
            port = self.other_port
        elif which == 3:
            address = rng.choice((("10.0.0.77", 7000), (address[0], 9), ("fd00::1", 7001)))
        elif which == 4:
            data += rng.randbytes(rng.choice((1, 500)))
        self.arriving.append((port, address, data))

    def move_neighbour(self) -> None:
        """It comes back with another address, and says HELLO from there, or not yet."""
        rng, neighbour = self.rng, self.any_neighbour()
        self.moves += 1
        neighbour.old_address = neighbour.address
        neighbour.address = rng.choice(("10.0.1.1", "fd00::2")), 8_000 + self.moves
        if rng.random() < 0.8:
            head = Header(PacketType.HELLO, stream_id=neighbour.node_id).pack()
            data = head + tag(head, b"hello", HELLO_KEY, 0, self.digest) + b"hello"
            self.arriving.append((self.port, neighbour.address, data))

    # -- numbers

    def leap_to_the_wrap(self) -> None:
        """A neighbour's numbers come near 2^32, in steps that the receiver follows."""
        neighbour = self.any_neighbour()
        for hop_seq in ((1 << 31) - 2, (1 << 32) - self.rng.randint(3, 60)):
            self.step()
            neighbour.hop_seq = hop_seq
            self.transmit(neighbour, b"", PacketType.PADDING)
            self.step()

    def stray(self) -> None:
        """An authentic packet with a number from anywhere, above all from the window's edge."""
        neighbour = self.any_neighbour()
        behind = self.rng.choice((1, 40, 8190, 8191, 8192, 8193, neighbour.hop_seq, 1 << 31))
        newest = neighbour.hop_seq
        neighbour.hop_seq = max(newest - behind - 1, -1)
        self.transmit(neighbour, b"", PacketType.PADDING)
        neighbour.hop_seq = max(newest, neighbour.hop_seq)

    def burst_loss(self) -> None:
        """A burst of a neighbour's numbers is lost, short or longer than what is remembered."""
        self.any_neighbour().hop_seq += self.rng.choice((1, 5, 33, 34, 200, 1024, 1030, 8191, 9000))
