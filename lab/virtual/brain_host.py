"""The host of the brain: its process, which can be killed and started again, and its disk."""

from __future__ import annotations

from collections import Counter

from control_client.codec import decode_from_brain, decode_from_node
from control_client.messages import Table, TableRefused
from controller.brain import Brain
from controller.core.events import RehomeSent, SendData, StateChanged
from controller.core.settings import BrainSettings
from lab.scenario.report import BrainReport
from lab.virtual.clock import Agenda, Luck
from lab.virtual.control_channel import ControlLink


class BrainHost:
    """Made stopped; `start` starts it. What it saved survives `kill`."""

    def __init__(self, settings: BrainSettings, agenda: Agenda, luck: Luck) -> None:
        self.starts = 0
        self.brain: Brain | None = None
        self._settings = settings
        self._agenda = agenda
        self._luck = luck
        self._saved: bytes | None = None
        self._links: dict[int, ControlLink] = {}
        self._counters: Counter[str] = Counter()

    @property
    def is_running(self) -> bool:
        return self.brain is not None

    def start(self) -> None:
        """With the state that was saved last."""
        self.starts += 1
        self.brain = Brain(
            self._settings,
            term=self.starts,
            master_key=bytes.fromhex(self._luck.token("master key")),
            state=self._saved,
            rng=self._luck.source("brain", self.starts),
            now_us=self._agenda.now_us,
        )
        self._take()

    def kill(self) -> None:
        """As kill -9 does: what was not saved is gone."""
        self._count()
        self.brain = None
        links, self._links = self._links, {}
        for link in links.values():
            link.close_by_brain("the brain's host closed the connection")

    # -- the channel

    def on_opened(self, link: ControlLink) -> None:
        assert self.brain is not None
        link.connection = self.brain.open_connection(link.node.name, self._agenda.now_us)
        self._links[link.connection] = link
        self._take()

    def on_data(self, link: ControlLink, data: bytes) -> None:
        assert self.brain is not None
        self._counters["tables_refused"] += isinstance(decode_from_node(data), TableRefused)
        self.brain.receive(link.connection, data, self._agenda.now_us)
        self._take()

    def on_closed(self, link: ControlLink, reason: str) -> None:
        assert self.brain is not None
        self._links.pop(link.connection, None)
        self.brain.on_closed(link.connection, reason, self._agenda.now_us)
        self._take()

    # -- time

    def next_timer_us(self) -> int | None:
        return self.brain.next_timer_us() if self.brain else None

    def handle_timer(self) -> None:
        assert self.brain is not None
        self.brain.handle_timer(self._agenda.now_us)
        self._take()

    def _take(self) -> None:
        """A turn of it at the end of this moment: what came together is worked out together."""
        brain = self.brain
        assert brain is not None
        while (output := brain.next_output()) is not None:
            link = self._links.get(output.connection)
            if link is None:
                continue
            if isinstance(output, SendData):
                is_table = isinstance(decode_from_brain(output.data), Table)
                self._counters["tables_pushed"] += is_table
                link.to_node(output.data)
            else:
                del self._links[output.connection]
                link.close_by_brain(f"closed by the brain ({output.code}: {output.text})")
                brain.on_closed(output.connection, "closed", self._agenda.now_us)
        while (event := brain.next_event()) is not None:
            if isinstance(event, StateChanged):
                self._saved = brain.state()
            elif isinstance(event, RehomeSent):
                self._counters["rehome_advices"] += 1

    # -- figures

    def _count(self) -> None:
        if self.brain is not None:
            self._counters.update(self.brain.status().counters)

    def report(self) -> BrainReport:
        """Over all its lives."""
        now = Counter(self._counters)
        if self.brain is not None:
            now.update(self.brain.status().counters)
        return BrainReport(
            term=self.starts,
            starts=self.starts,
            path_requests=now["path_requests"],
            lookups=now["lookups"],
            tables_pushed=now["tables_pushed"],
            tables_refused=now["tables_refused"],
            rehome_advices=now["rehome_advices"],
        )
