"""coturn: the generator is a TURN client, its packets go in as ChannelData and out as plain RTP."""

from __future__ import annotations

import os
import socket
import struct

from bench.support.native import BenchError
from bench.support.peers import LOOPBACK, Peer, free_port

# RFC 8489 section 5, RFC 8656 sections 17 and 18.
MAGIC_COOKIE = 0x2112A442
ALLOCATE, CHANNEL_BIND = 0x0003, 0x0009
SUCCESS = 0x0100
CHANNEL_NUMBER, LIFETIME, XOR_PEER_ADDRESS, REQUESTED_TRANSPORT = 0x000C, 0x000D, 0x0012, 0x0019
UDP = 17
CHANNEL = 0x4000
LIFETIME_S = 3_600  # longer than any case, so nothing needs a refresh
TRIES, ANSWER_S = 5, 0.5


def attribute(kind: int, value: bytes) -> bytes:
    """All values here are whole words, so there is no padding."""
    return struct.pack(">HH", kind, len(value)) + value


def request(kind: int, *attributes: bytes) -> bytes:
    body = b"".join(attributes)
    return struct.pack(">HHI", kind, len(body), MAGIC_COOKIE) + os.urandom(12) + body


def xor_address(host: str, port: int) -> bytes:
    """RFC 8489 section 14.2, of IPv4."""
    number = int.from_bytes(socket.inet_aton(host))
    return struct.pack(">BBHI", 0, 1, port ^ MAGIC_COOKIE >> 16, number ^ MAGIC_COOKIE)


class Coturn(Peer):
    """One allocation with one channel: to one receiver."""

    name = "coturn"
    package = "coturn"
    executable = "turnserver"
    max_fanout = 1

    def start(self) -> None:
        port = free_port()
        file = self.write(
            "turnserver.conf",
            f"""listening-ip={LOOPBACK}
relay-ip={LOOPBACK}
listening-port={port}
relay-threads=1
allow-loopback-peers
no-auth
no-cli
no-tcp
no-tls
no-dtls
no-tcp-relay
max-allocate-lifetime={LIFETIME_S}
channel-lifetime={LIFETIME_S}
permission-lifetime={LIFETIME_S}
userdb={self.directory}/turndb
pidfile={self.directory}/turnserver.pid
log-file=stdout
simple-log
""",
        )
        self.run("-c", str(file))
        self.thread.wait_for_port(port)
        self.ingest = (LOOPBACK, port)
        self.place.generator.connect(self.ingest)
        self._open_channel(self.place.generator.socket)
        # The head of ChannelData, RFC 8656 section 12.4.
        head = struct.pack(">HH", CHANNEL, self.place.case.payload_bytes)
        self.place.generator.set_prefix(head)

    def _open_channel(self, generator: socket.socket) -> None:
        """Allocate, and bind the channel to the receiver."""
        lifetime = attribute(LIFETIME, struct.pack(">I", LIFETIME_S))
        transport = attribute(REQUESTED_TRANSPORT, struct.pack(">I", UDP << 24))
        self._ask(generator, request(ALLOCATE, transport, lifetime))
        channel = attribute(CHANNEL_NUMBER, struct.pack(">I", CHANNEL << 16))
        peer = attribute(XOR_PEER_ADDRESS, xor_address(LOOPBACK, self.place.ports[0]))
        self._ask(generator, request(CHANNEL_BIND, channel, peer))

    def _ask(self, client: socket.socket, message: bytes) -> None:
        """Until it is answered; BenchError if it is refused."""
        timeout = client.gettimeout()
        client.settimeout(ANSWER_S)
        try:
            for _ in range(TRIES):
                client.send(message)
                try:
                    answer = client.recv(2_048)
                except TimeoutError:
                    continue
                kind = int.from_bytes(answer[:2])
                if kind == int.from_bytes(message[:2]) | SUCCESS:
                    return
                raise BenchError(f"coturn refused a request: answer of type {kind:#06x}")
        finally:
            client.settimeout(timeout)
        self.thread.check()
        raise BenchError(f"coturn gave no answer to {TRIES} requests")
