"""`overlane paths` against a real server: what is shown, and one line for what is wrong."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from rich.console import Console

from overlane.http_json import AnswerError
from overlane.paths import fetch_explanations, fetch_streams
from overlane.paths_view import explanation, listing
from tests.support.brain_api import Failure, serving


def hop(sender: str, receiver: str, rtt_us: int, cost_us: int | None) -> dict[str, Any]:
    return {
        "sender": sender, "receiver": receiver, "rtt_us": rtt_us if cost_us else None,
        "loss": 0.0102, "load": 0.35, "penalty": 1.0, "cost_us": cost_us,
    }  # fmt: skip


def measured(sender: str, receiver: str, rtt_us: int, delay_us: int) -> dict[str, Any]:
    return {
        "sender": sender, "receiver": receiver, "rtt_us": rtt_us, "received_packets": 123456,
        "lost_packets": 1240, "repaired_packets": 1237, "given_up_packets": 3, "delay_us": delay_us,
    }  # fmt: skip


FIRST, SECOND = ("london", "new-york", 71_200), ("new-york", "tokyo", 161_000)
LIVE = {
    "stream": "live",
    "producer": "london",
    "consumer": "tokyo",
    "kind": "ordinary",
    "error": None,
    "code": None,
    "candidates": [
        {
            "nodes": ["london", "new-york", "tokyo"],
            "cost_us": 126_100,
            "verdict": "chosen",
            "reasons": ["the cheapest"],
            "hops": [hop(*FIRST, 40_600), hop(*SECOND, 85_500)],
        },
        {
            "nodes": ["london", "tokyo"],
            "cost_us": 142_000,
            "verdict": "backup",
            "reasons": ["15.9 ms dearer than the chosen"],
            "hops": [hop("london", "tokyo", 240_000, 142_000)],
        },
        {
            "nodes": ["london", "paris", "tokyo"],
            "cost_us": None,
            "verdict": "barred",
            "reasons": ["no link london -> paris", "paris has not reported for some time"],
            "hops": [hop("london", "paris", 0, None), hop("paris", "tokyo", 230_000, 120_000)],
        },
    ],
    "state": "live",
    "current": {
        "nodes": ["london", "new-york", "tokyo"],
        "hops": [measured(*FIRST, 38_000), measured(*SECOND, 121_500)],
    },
    "age_s": 12.3,
    "version": 7,
}
VIDEO = {"stream_id": 77, "media": "video", "codec": "H264", "payload_type": 96,
         "clock_rate": 90_000, "fmtp": ""}  # fmt: skip
STREAMS = [
    {
        "name": "live",
        "producer": "london",
        "since_s": 91.0,
        "tracks": [VIDEO],
        "consumers": [
            {"node": "new-york", "state": "live", "path": ["london", "new-york"],
             "viewers": 0, "subscribers": 1},
            {"node": "tokyo", "state": "live", "path": ["london", "new-york", "tokyo"],
             "viewers": 12, "subscribers": 0},
        ],
    },
    {"name": "idle", "producer": "paris", "since_s": 2.0, "tracks": [], "consumers": []},
]  # fmt: skip


def shown(view: Any) -> str:
    """As a terminal of 80 columns shows it."""
    console = Console(file=io.StringIO(), width=80, markup=False, emoji=False)
    console.print(view)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert max(map(len, text.splitlines())) <= 80
    return "\n".join(line.rstrip() for line in text.splitlines())


def explained(body: Any, stream: str = "live", consumer: str | None = "tokyo") -> str:
    query = f"?consumer={consumer}" if consumer else ""

    async def scene() -> str:
        async with serving({f"/paths/{stream}{query}": body}) as url:
            _, found = await fetch_explanations(url, stream, consumer)
            return "\n".join(shown(explanation(each)) for each in found)

    return asyncio.run(scene())


def test_a_path_is_explained_with_what_was_measured_and_why_not_another() -> None:
    lines = explained(LIVE).splitlines()

    assert lines[0] == "live: london to tokyo"
    assert lines[1] == "in use: london > new-york > tokyo, as the brain chooses"
    (first,) = (line for line in lines if "> new-york " in line and "1,240" in line)
    assert first.split() == (
        ["london", ">", "new-york", "71.2", "ms", "123,456", "1,240", "1,237", "3", "38.0", "ms"]
    )
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert "126.1 ms  the cheapest" in rows["chosen"]
    assert "15.9 ms dearer" in rows["backup"]
    assert "no link london -> paris" in rows["barred"]
    links = lines[lines.index("links of these paths, one way") :]
    assert sum("london > new-york" in line for line in links) == 1
    assert any(line.split() == ["london", ">", "paris", "no", "link"] for line in links)


def test_a_stream_on_another_way_than_the_brain_chooses_is_told() -> None:
    current = {**LIVE["current"], "nodes": ["london", "tokyo"]}  # type: ignore[dict-item]
    text = explained({**LIVE, "current": current})
    assert "in use: london > tokyo; the brain would choose another" in text


IDLE = {
    "none": "in use: nothing; tokyo does not have the stream",
    "asking": "in use: nothing yet; tokyo asks for it",
    "standby": "in use: nothing; tokyo stands by for others",
    "away": "in use: not known; tokyo is not connected to the brain",
}


@pytest.mark.parametrize("state", IDLE)
def test_where_nothing_flows_why(state: str) -> None:
    assert IDLE[state] in explained({**LIVE, "state": state, "current": None})


def test_what_a_node_last_said_before_it_left() -> None:
    text = explained({**LIVE, "state": "away"})
    assert "in use: london > new-york > tokyo when tokyo was last heard of; it is away" in text


def test_no_path_and_no_stream_yet() -> None:
    text = explained(
        {**LIVE, "kind": None, "error": "no path is left", "code": "no_path", "candidates": [],
         "state": "none", "current": None}
    )  # fmt: skip
    assert "in use: nothing; tokyo does not have the stream" in text
    assert "the brain has no path: no path is left" in text


def test_without_a_consumer_all_are_explained() -> None:
    other = {**LIVE, "consumer": "paris", "state": "none", "current": None}
    text = explained({"paths": [LIVE, other]}, consumer=None)
    assert "live: london to tokyo" in text
    assert "live: london to paris" in text


def test_streams_are_listed_with_their_ways() -> None:
    async def scene() -> str:
        async with serving({"/streams": STREAMS}) as url:
            return shown(listing((await fetch_streams(url))[1]))

    lines = asyncio.run(scene()).splitlines()
    rows = [" ".join(line.split()) for line in lines]
    assert any(row.endswith("tokyo live london > new-york > tokyo 12") for row in rows)
    assert "idle - no subscriber paris -" in rows


WRONG = [
    (
        Failure(404, {"error": "no broadcast is called live\x1b[2J", "code": "x"}),
        "called live [2J (404)",
    ),
    (Failure(500, []), "500 Internal Server Error; is this the address of the brain's HTTP API?"),
    (
        Failure(404, {"error": "Not Found"}),
        "404 Not Found; is this the address of the brain's HTTP API?",
    ),
    ([], "is no brain, or one of another version: Expected `object`, got `array`"),
    ({"stream": "live", "consumer": 5}, "Expected `str`, got `int` - at `$.consumer`"),
]


@pytest.mark.parametrize(("body", "text"), WRONG)
def test_what_is_wrong_is_one_line(body: Any, text: str) -> None:
    with pytest.raises(AnswerError) as caught:
        explained(body)
    assert text in str(caught.value)
    assert str(caught.value).isprintable()
