"""The bench of switches finds a picture that lacks its reference, though no decoder complains."""

from __future__ import annotations

from bench.switch import judge, play


def test_what_a_viewer_sees_is_what_was_encoded() -> None:
    player, show, sources = play()
    found = judge(player, show, sources)
    assert found["holds"], found
    assert found["pictures_wrong"] == 0

    # A P frame is taken out, and the numbers behind it are closed up.
    numbers = sorted(player.packets)
    _, packet = player.packets[numbers[len(numbers) // 2]]
    kept = [n for n in numbers if player.packets[n][1].timestamp != packet.timestamp]
    player.packets = {numbers[0] + i: player.packets[n] for i, n in enumerate(kept)}
    found = judge(player, show, sources)
    assert found["decode_errors"] == found["access_units_broken"] == 0
    assert found["pictures_wrong"] > 0
    assert not found["holds"]
