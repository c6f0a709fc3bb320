"""What a terminal and a log show of a scene."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from lab.realtime.scene import BrainScene, Carried, Hop, Moment, Scene, Watching
from overlane.lab_view import LabView

PATHS = {
    "lisbon": "lisbon",
    "singapore": "lisbon singapore",
    "sydney": "lisbon singapore sydney",
    "london": "lisbon london",
    "seattle": "lisbon london seattle",
}
SCENE = Scene(
    title="eight-cities",
    step="on the air",
    elapsed_s=27.3,
    duration_s=45.0,
    nodes=tuple(PATHS),
    cut=(("lisbon", "singapore"),),
    brain=BrainScene(is_up=True, term=1_790_000_000, connected=5),
    streams={
        "demo": {
            node: Carried(
                node=node,
                state="live",
                path=tuple(path.split()),
                standby=("lisbon", "frankfurt", "sydney") if node == "sydney" else (),
                delay_us=0,
                viewers=int(node == "sydney"),
                subscribers=0,
            )
            for node, path in PATHS.items()
        }
    },
    hops={
        ("singapore", "sydney"): Hop("singapore", "sydney", True, 950, 50, 47, 1, 2, 94_000),
    },
    viewers=(
        Watching("far", "demo", "sydney", True, 733, 312.4, 41.2, ("lisbon", "sydney"), None),
        Watching("none", "demo", "seattle", True, 0, None, None, (), "no such stream"),
    ),
    moments=(
        Moment(24.75, "cut lisbon - singapore", "bad"),
        Moment(24.93, "singapore: lisbon -> london (upstream lost, 212 ms)", "good"),
    ),
)


def drawn(scene: Scene, width: int) -> list[str]:
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=True, color_system=None)
    view = LabView(console)
    view.show(scene)
    console.print(view)
    return output.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_the_tree_the_figures_and_what_happened_fit(width: int) -> None:
    lines = drawn(SCENE, width)
    assert max(map(len, lines)) <= width
    (sydney,) = (line for line in lines if line.startswith("│  └─ sydney"))
    assert sydney.split()[3:] == ["47", "5.0%", "47", "3", "1", "via", "frankfurt"]
    tree = [line.split("  ")[0] for line in lines if line.startswith(("├", "└", "lisbon"))]
    assert tree == ["lisbon", "├─ singapore", "└─ london"]
    (far,) = (line for line in lines if line.startswith("far "))
    assert far.split() == ["far", "733", "312", "41", "lisbon", ">", "sydney"]
    assert any("no such stream" in line for line in lines)
    assert any("24.93 s  singapore: lisbon -> london (upstream lost, 212 ms)" in x for x in lines)


def test_what_is_down_is_named() -> None:
    scene = dataclasses.replace(
        SCENE, down=("london",), brain=BrainScene(is_up=False, term=0, connected=0)
    )
    text = " ".join(drawn(scene, 120))
    assert "down: london" in text
    assert "the brain is away" in text


def test_a_ring_of_answers_from_the_middle_of_a_change_is_drawn_once() -> None:
    ring = {
        "a": Carried("a", "live", ("b", "a"), (), 0, 0, 0),
        "b": Carried("b", "live", ("a", "b"), (), 0, 0, 0),
        "c": Carried("c", "live", ("c",), (), 0, 0, 0),
    }
    lines = drawn(dataclasses.replace(SCENE, streams={"demo": ring}), 80)
    tree = [line.split("  ")[0] for line in lines if line.startswith(("└", "a", "b", "c"))]
    assert tree == ["c", "a", "└─ b"]


def test_a_log_gets_each_moment_once_and_a_line_now_and_then() -> None:
    output = io.StringIO()
    view = LabView(Console(file=output, width=120))
    view.show_line(dataclasses.replace(SCENE, moments=SCENE.moments[:1]))
    view.show_line(dataclasses.replace(SCENE, elapsed_s=28.0))
    view.show_line(dataclasses.replace(SCENE, elapsed_s=33.0))
    lines = output.getvalue().splitlines()
    assert [line.split("  ")[0].strip() for line in lines] == [
        "24.75 s", "eight-cities", "24.93 s", "eight-cities",
    ]  # fmt: skip
    assert "frames: far 733" in lines[1].replace("\n", " ")
