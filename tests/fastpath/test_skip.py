"""SKIP: what an overloaded node has left out is lacked by nobody downstream, and has no number."""

from __future__ import annotations

import itertools

from lab.link import LinkConfig
from tests.support.chain import Chain
from tests.support.encoder import Encoder, index_of, number_of

HOP = LinkConfig(10_000)


def test_a_node_that_was_lapped_is_told_and_its_viewers_see_no_gap() -> None:
    """Its link takes a tenth of what comes, and the slab of the node above holds 32 packets."""
    first_seq = (1 << 32) - 40
    chain = Chain([HOP, HOP], first_seq=first_seq, first_node={"slab_bytes": 96 << 10})
    encoder = Encoder(size=1_000)
    chain.run(100_000)
    chain.add_viewer()
    upper = chain.nodes[0]
    upper.engine.set_link_rate(upper.links["down"], 200_000)
    for _ in range(10):
        for packet in encoder.gop(15):
            chain.encode(packet)
            chain.run(5_000)
    upper.engine.set_link_rate(upper.links["down"], 100_000_000)
    for packet in encoder.gop(15):
        chain.encode(packet)
        chain.run(5_000)
    chain.run(200_000)
    got = [index_of(data) for _, data in chain.viewer_packets]
    assert got[-15:] == list(range(150, 165))
    leaps = [b for a, b in itertools.pairwise(got) if b != a + 1]
    assert leaps  # it was lapped
    assert all(place % 15 == 0 for place in leaps)  # to key frames
    numbers = [number_of(data) for _, data in chain.viewer_packets]
    assert numbers == [(65_530 + n) & 0xFFFF for n in range(len(got))]
    for node in chain.nodes[1:]:
        counted = node.engine.verdicts()
        assert counted["skipped_upstream"] == 165 - len(got)
        stats = node.engine.stream_stats(node.stream)
        assert stats.first_lacking_seq == stats.next_stream_seq
        assert node.engine.link_stats(node.links["up"]).lost == 0
