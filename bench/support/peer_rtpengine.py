"""rtpengine in user space (no kernel table), told by its "ng" control protocol what to forward.

The generator publishes; each receiver subscribes. A port of rtpengine's that finds more than 50
packets waiting takes no more of them, and after the fifth time never takes one again (its guard
against floods). So the generator's frames go to several ports in turn, and a server that gave up is
started anew before the next trial.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import Any

from bench.support.native import BenchError
from bench.support.peers import LOOPBACK, Peer, free_port

TRIES, ANSWER_S = 5, 1.0
MEDIA_PORTS = (10_000, 29_998)  # below the kernel's own choices; two for each receiver
CALL_ID = "bench"
INPUTS = 8  # ports that take the generator's frames in turn
GAVE_UP = "discarding packet"  # in its log
NO_PORT = 9  # discard: nothing is to be sent back to the generator


def encode(value: object) -> bytes:
    """Bencode of what the protocol is made of: dictionaries, texts, numbers."""
    if isinstance(value, Mapping):
        return b"d%be" % b"".join(encode(key) + encode(one) for key, one in value.items())
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        text = value.encode()
        return b"%d:%b" % (len(text), text)
    raise TypeError(value)


def decode(data: bytes) -> Any:
    """The value; ValueError if it is none."""
    value, end = _decode(data, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes too many")
    return value


def _decode(data: bytes, at: int) -> tuple[Any, int]:
    match data[at : at + 1]:
        case b"d" | b"l" as kind:
            at += 1
            items = []
            while data[at : at + 1] != b"e":
                item, at = _decode(data, at)
                items.append(item)
            found = dict(zip(items[::2], items[1::2], strict=True)) if kind == b"d" else items
            return found, at + 1
        case b"i":
            end = data.index(b"e", at)
            return int(data[at + 1 : end]), end + 1
        case _:
            colon = data.index(b":", at)
            end = colon + 1 + int(data[at:colon])
            if end > len(data):
                raise ValueError("a text that ends too early")
            return data[colon + 1 : end].decode(), end


def description(port: int, direction: str) -> str:
    """SDP of one stream at a port of the loopback address.

    It publishes only what it could decode, so the packets are called Opus; it does not look.
    """
    lines = [
        "v=0",
        f"o=- 1 1 IN IP4 {LOOPBACK}",
        "s=-",
        f"c=IN IP4 {LOOPBACK}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 96",
        "a=rtpmap:96 opus/48000/2",
        f"a={direction}",
    ]
    return "\r\n".join(lines) + "\r\n"


class Rtpengine(Peer):
    name = "rtpengine"
    package = "rtpengine-daemon"
    executable = "rtpengine"
    max_fanout = 1_000

    def start(self) -> None:
        control = free_port()
        first, last = MEDIA_PORTS
        self.run(
            "--foreground",
            f"--config-file={self.write('rtpengine.conf', '[rtpengine]')}",
            "--table=-1",
            f"--interface={LOOPBACK}",
            f"--listen-ng={LOOPBACK}:{control}",
            f"--port-min={first}",
            f"--port-max={last}",
            f"--num-threads={len(self.place.cores)}",
            "--endpoint-learning=off",
            "--delete-delay=0",
            *(f"--{one}=3600" for one in ("timeout", "silent-timeout", "offer-timeout")),
            "--log-stderr",
            "--log-level=4",
        )
        self._control = (LOOPBACK, control)
        inputs = self._connect()
        self.ingest = (LOOPBACK, inputs[0])
        self.place.generator.spread(inputs)

    def is_settled(self) -> bool:
        """It takes packets again, if need be because it was started again."""
        if GAVE_UP in self.thread.said():
            self.thread.restart()
            self.place.generator.spread(self._connect())
        return True

    def _connect(self) -> list[int]:
        self.thread.wait_for_port(self._control[1])
        return [self._publish(f"input-{number}") for number in range(INPUTS)]

    def _publish(self, tag: str) -> int:
        """The port that takes packets, with all receivers subscribed to it."""
        call = {"call-id": f"{CALL_ID}-{tag}", "from-tag": tag}
        answer = self._ask("publish", {**call, "sdp": description(NO_PORT, "sendonly")})
        for port in self.place.ports:
            offer = self._ask("subscribe request", call)
            sdp = description(port, "recvonly")
            self._ask("subscribe answer", {**call, "to-tag": offer["to-tag"], "sdp": sdp})
        found = re.search(r"^m=audio (\d+) ", answer["sdp"], re.MULTILINE)
        if found is None:
            raise BenchError(f"rtpengine names no port: {answer['sdp']!r}")
        return int(found[1])

    def _ask(self, command: str, more: Mapping[str, str]) -> Any:
        """Its answer; BenchError if it is no "ok". The cookie makes a repeated request harmless."""
        cookie = os.urandom(8).hex().encode()
        message = cookie + b" " + encode({"command": command, **more})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(self._control)
            client.settimeout(ANSWER_S)
            for _ in range(TRIES):
                try:
                    client.send(message)
                    answer = client.recv(65_535)
                except TimeoutError:
                    self.thread.check()
                    continue
                given, _, body = answer.partition(b" ")
                found = decode(body) if given == cookie else {}
                if found.get("result") == "ok":
                    return found
                raise BenchError(f"rtpengine refused to {command}: {found}")
        raise BenchError(f"rtpengine gave no answer to {TRIES} requests ({command})")
