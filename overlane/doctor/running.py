"""The node that runs with the configuration, if one does: asked, its own word counts."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from control_client.session import SessionState
from overlane.doctor.check import Check, ok, warning
from overlane.peer import MAX_ANSWER_BYTES, printable, printable_line
from relay.status import PLAIN_TEXT_CONTROL
from service.address import Address, format_address

ASK_S = 2.0


@dataclass(frozen=True, slots=True)
class RunningNode:
    """status: GET /status. links: its neighbours by name."""

    status: Mapping[str, Any]
    links: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def ask_node(address: Address, name: str) -> tuple[RunningNode | None, Check]:
    """The node of this name at its admin address."""
    what = "this node"
    if address[1] == 0:
        found = "its admin port is drawn at start, so whether it runs is not known"
        return None, ok(what, found)
    where = format_address(address)
    mend = "see who listens there (below), and give admin.listen another port"
    status = _get_status(address)
    if status is None:
        return None, ok(what, f"does not run: nothing answers at {where}")
    if isinstance(status, str):
        return None, warning(what, f"what answers at {where} is no node: {status}", mend)
    if not isinstance(status.get("node"), str):
        return None, warning(what, f"what answers at {where} is no node", mend)
    if status["node"] != name:
        mend = "give one of the two another admin.listen, or check the other's configuration"
        return None, warning(what, f"at {where} runs {status['node']}, not {name}", mend)
    uptime_s = status.get("uptime_s")
    since = f", up {uptime_s:.0f} s" if isinstance(uptime_s, int | float) else ""
    return RunningNode(status, _links(status)), ok(what, f"runs, as {where} says{since}")


def _get_status(address: Address) -> dict[str, Any] | str | None:
    """GET /status: a JSON object, why it is none, or None if nobody listens."""
    connection = http.client.HTTPConnection(address[0], address[1], timeout=ASK_S)
    try:
        connection.request("GET", "/status")
        answer = msgspec.json.decode(connection.getresponse().read(MAX_ANSWER_BYTES))
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        return printable_line(str(error)) or type(error).__name__
    finally:
        connection.close()
    return printable(answer) if isinstance(answer, dict) else "not a JSON object"


# Caches, and what is in use whole from the start (fastpath/stats).
_MEANT_TO_BE_FULL = frozenset({"small_blocks", "large_blocks", "packet_bytes", "index_bytes"})


def _links(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    listed = status.get("neighbours")
    return {
        link["name"]: link
        for link in (listed if isinstance(listed, list) else [])
        if isinstance(link, dict) and isinstance(link.get("name"), str)
    }


def _check_controller(controller: object) -> list[Check]:
    """How the node stands with its brain; nothing for one that has none."""
    if not isinstance(controller, dict):
        return []
    what, table = "brain", controller.get("table")
    held = f"table {table.get('version')}" if isinstance(table, dict) else "no table"
    state = controller.get("state")
    if state != SessionState.REGISTERED.value:
        reason = controller.get("last_problem")
        found = f"{state}, with {held}" + (f": {reason}" if reason else "")
        mend = "see the checks of the brain; until then the node goes on with what it has"
        checks = [warning(what, found, mend)]
    else:
        checks = [ok(what, f"registered in term {controller.get('term')}, with {held}")]
    if isinstance(table, dict) and table.get("is_stored") is False:
        found = f"{held} is in force, but not on disk: a restart would lose it"
        checks.append(warning("table", found, "make table_file writable, and room on its disk"))
    return checks


def check_running(node: RunningNode) -> list[Check]:
    """What it does without, and how full it is."""
    checks = _check_controller(node.status.get("controller"))
    fallbacks = node.status.get("fallbacks")
    if isinstance(fallbacks, list) and fallbacks:
        found = f"does without {', '.join(map(str, fallbacks))}"
        mend = "see the kernel's checks; the node's log has the reason (fallback)"
        if fallbacks == [PLAIN_TEXT_CONTROL]:
            mend = "let the brain speak TLS, and give controller.url as wss://"
        checks.append(warning("fallbacks", found, mend))
    memory = node.status.get("memory")
    full = [
        f"{name} {used} of {limit}"
        for name, (used, limit) in (memory.items() if isinstance(memory, dict) else ())
        if limit and used >= 0.9 * limit and name not in _MEANT_TO_BE_FULL
    ]
    if full:
        checks.append(warning("limits", f"nearly used up: {', '.join(full)}", "raise [limits]"))
    return checks


def ask_brain(address: Address) -> tuple[bool, Check]:
    """Whether a brain runs at its API's address."""
    what, where = "this brain", format_address(address)
    mend = "see who listens there (below), and give api.listen another port"
    answer = _get_status(address)
    if isinstance(answer, str):
        return False, warning(what, f"what answers at {where} is no brain: {answer}", mend)
    if answer is None:
        return False, ok(what, f"does not run: nothing answers at {where}")
    if not isinstance(answer.get("term"), int):
        return False, warning(what, f"what answers at {where} is no brain", mend)
    uptime_s, nodes = answer.get("uptime_s"), answer.get("nodes")
    since = f", up {uptime_s:.0f} s" if isinstance(uptime_s, int | float) else ""
    return True, ok(what, f"runs in term {answer['term']}{since}; nodes here: {nodes}")
