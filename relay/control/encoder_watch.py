"""Whether encoders send here: of broadcasts that start here by their streams, and of those whose
broadcaster has moved by streams of their own, which nobody is sent."""

from __future__ import annotations

from fastpath import EngineFullError
from relay.config import Produced
from relay.node import Node
from relay.stream import CODECS, MEDIA
from relay.workers import worker_of
from service.address import parse_address


class EncoderWatch:
    """Owns the engine's streams that only listen."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ingests = {ingest.name: ingest for ingest in node.config.broadcasts}
        self._listening: dict[str, list[int]] = {}

    def heard_us(self, stream: str, *, is_moved: bool) -> int | None:
        """When its encoder's newest packet came; None: never, or not since it moved."""
        broadcast = self._node.subscriptions.find(stream)
        if broadcast is not None and broadcast.is_local:
            return self._newest_us([each.handle for each in self._node.streams.of(stream)])
        if is_moved and stream not in self._listening:
            self._listen(self._ingests[stream])
        return self._newest_us(self._listening.get(stream, []))

    def elsewhere_us(self, stream: str) -> int | None:
        """When its newest packet from another node came; None: none, or it starts here."""
        broadcast = self._node.subscriptions.find(stream)
        if broadcast is None or broadcast.is_local:
            return None
        return self._newest_us([each.handle for each in self._node.streams.of(stream)])

    def release(self, stream: str) -> None:
        """It starts here again, with streams that its encoder's packets go to."""
        for handle in self._listening.pop(stream, ()):
            self._node.engine.remove_stream(handle)

    def _newest_us(self, handles: list[int]) -> int | None:
        times = (self._node.engine.stream_stats(handle).last_packet_us for handle in handles)
        return max((time_us for time_us in times if time_us >= 0), default=None)

    def _listen(self, ingest: Produced) -> None:
        """Where there is no room now there may be later."""
        node = self._node
        handles: list[int] = []
        for configured, track in zip(ingest.tracks, node.new_tracks(ingest.name), strict=True):
            port = node.ports.ingests[ingest.name, track.media]
            try:
                handle = node.engine.add_stream(
                    stream_id=track.stream_id,
                    media=MEDIA[track.media],
                    first_stream_seq=track.first_stream_seq,
                    upstream=None,
                    clock_rate=track.clock_rate,
                    worker=worker_of(port),
                )
            except EngineFullError:
                break
            handles.append(handle)
            node.engine.set_ingest(
                port,
                stream=handle,
                codec=CODECS[track.codec],
                payload_type=track.payload_type,
                rtcp_to=parse_address(configured.rtcp_to) if configured.rtcp_to else None,
                nack=configured.nack,
                rtx_payload_type=configured.rtx_payload_type or 0,
                transport_cc_id=configured.transport_cc_id,
                dependency_id=configured.dependency_id,
            )
        self._listening[ingest.name] = handles
