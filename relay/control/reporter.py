"""The node's reports: each period all of it, and at once what cannot wait that long.

Whoever owns it calls `report` when one is due, `sample` each second, `tell_links` at its timer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from control_client.messages import LinkReport, Report
from control_client.session import NodeSession
from relay.control.agent_events import AlarmCleared, AlarmRaised
from relay.control.alarm import LinkWatch, LoadAlarm
from relay.control.telemetry import CpuReader, LinkMeter, LoadMeter, StreamMeter
from relay.node import Node

MAX_WINDOW_US = 3_600_000_000  # as the message allows
MAX_PERMILLE = 10_000


class Reporter:
    """Of one node, to one session."""

    def __init__(
        self, node: Node, session: NodeSession, read_cpu_us: CpuReader, now_us: int
    ) -> None:
        self._session = session
        self._events: deque[AlarmRaised | AlarmCleared] = deque()
        self._since_us = now_us
        self._links = LinkMeter(node, now_us)
        self._streams = StreamMeter(node)
        self._load = LoadMeter(node, read_cpu_us, now_us)
        self._alarm = LoadAlarm()
        self._alarm_links = LinkMeter(node, now_us)
        self._alarm_load = LoadMeter(node, read_cpu_us, now_us)
        self._last_load = self._alarm_load.read(now_us)
        self._watch = LinkWatch()

    @property
    def alarms(self) -> set[str | None]:
        """Neighbours whose links are nearly full; None: the node itself is."""
        return self._alarm.raised

    def next_event(self) -> AlarmRaised | AlarmCleared | None:
        """Take the oldest output."""
        return self._events.popleft() if self._events else None

    def next_timer_us(self) -> int | None:
        """When `tell_links` has something."""
        return self._watch.next_timer_us()

    def set_threshold(self, alarm_permille: int) -> None:
        """As the brain wants it."""
        self._alarm.alarm_permille = alarm_permille

    def report(self, now_us: int) -> None:
        """All of it, since the last one."""
        load, links = self._load.read(now_us), tuple(self._links.read(now_us))
        report = Report(self._window_us(now_us), load, links, tuple(self._streams.read()))
        self._links.mark(now_us)
        self._since_us = now_us
        self._session.report(report, now_us)

    def sample(self, now_us: int) -> None:
        """Each second: is a link, or the node, nearly full, or no longer?"""
        links = self._alarm_links.read(now_us)
        self._alarm_links.mark(now_us)
        load = self._last_load = self._alarm_load.read(now_us)
        levels: dict[str | None, int] = {
            each.neighbour: each.utilisation_permille for each in links
        }
        levels[None] = max(load.cpu_permille, load.memory_permille)
        crossings = self._alarm.sample(levels)
        for crossing in crossings:
            kind = AlarmRaised if crossing.is_raised else AlarmCleared
            self._events.append(kind(crossing.name, crossing.permille))
        if crossings:
            names = [crossing.name for crossing in crossings if crossing.name is not None]
            self._report_now(self._links.read(now_us, names), now_us)

    def on_link(self, name: str, *, is_up: bool, now_us: int) -> None:
        """It came up, went down, or is a new one, which is down."""
        self._watch.on_change(name, is_up, now_us)
        self.tell_links(now_us)

    def forget_link(self, name: str) -> None:
        """No neighbour any more."""
        self._watch.forget(name)

    def tell_links(self, now_us: int) -> None:
        """Of those that are down or up now and were told otherwise."""
        due = self._watch.take_due(now_us)
        known = {link.neighbour: link for link in self._links.read(now_us, due)}
        for name in due:
            if name in known:
                continue
            if self._watch.is_up(name):
                self._watch.put_off(name, now_us)  # its round trip is about to be measured
            else:
                known[name] = LinkReport(name, False, 0, 0, 0, 0)
        self._watch.on_told(known, now_us)
        if known:
            self._report_now(known.values(), now_us)

    def _report_now(self, links: Iterable[LinkReport], now_us: int) -> None:
        """Losses over the period so far, utilisation as the alarm sees it; the period goes on."""
        if not self._session.is_registered:
            return  # each connection begins with a report of all
        told = tuple(
            replace(each, utilisation_permille=self._level(each.neighbour)) for each in links
        )
        report = Report(self._window_us(now_us), self._last_load, told, is_alarm=True)
        self._session.report(report, now_us)

    def _level(self, name: str) -> int:
        return min(self._alarm.mean(name), MAX_PERMILLE)

    def _window_us(self, now_us: int) -> int:
        return min(now_us - self._since_us, MAX_WINDOW_US)
