"""All parts of a brain, put together: who reads whom stands here, and nowhere else."""

from __future__ import annotations

from random import Random

from control_client.back_off import LONGEST_LIMIT_US
from control_client.liveness import OPENING_US
from control_client.messages import FromBrain
from controller.core import saving
from controller.core.advice import Advice
from controller.core.connections import Connections
from controller.core.consumers import Consumers
from controller.core.members import Members
from controller.core.overview import Overview
from controller.core.path_requests import PathRequests
from controller.core.patience import Patience
from controller.core.picture import Picture
from controller.core.producers import Producers
from controller.core.pushes import Pushes
from controller.core.reports import Reports
from controller.core.saved_state import SavedState, pack
from controller.core.saving import Saving
from controller.core.settings import BrainSettings
from controller.core.start import Start
from controller.core.tables import Tables
from controller.discovery import NetworkView
from controller.paths import (
    PathBase,
    PathDecision,
    Popularity,
    PopularityState,
    Rehoming,
    StreamBase,
    StreamIds,
)
from controller.tables.registry import NodeRegistry
from controller.tables.table_compiler import TableCompiler


class Parts:
    """Of one start. saved: of the start before. lost_state: there was one that cannot be used."""

    def __init__(
        self,
        settings: BrainSettings,
        *,
        term: int,
        master_key: bytes,
        saved: SavedState | None,
        lost_state: bool,
        rng: Random,
        now_us: int,
    ) -> None:
        self.registry = NodeRegistry(settings.nodes)
        self.connections = Connections(self.registry, term, settings.intervals)
        self.members = Members(settings.member_us)
        self.consumers = Consumers()
        self.popularity = Popularity(settings.popularity)
        self.saving = Saving(settings)

        self.view = NetworkView(settings.discovery, start_us=now_us)
        self.reports = Reports(self.view)
        self.paths = PathBase(settings.path_config)
        self.picture = Picture(self.view, self.paths, now_us)

        next_id = saved.next_stream_id if saved else rng.getrandbits(32)
        self.streams = StreamBase(StreamIds(next_id))
        self.producers = Producers(self.streams, settings.session_grace_us, rng)
        self.decision = PathDecision(self.streams, self.paths)

        expected = self._restore(saved, settings, now_us) if saved else frozenset()
        self.start = Start(
            settings,
            expected,
            term=term,
            has_state=saved is not None,
            lost_state=lost_state,
            now_us=now_us,
        )
        patience = Patience(self.start, self.members, settings.patience_us)
        self.requests = PathRequests(self.decision, patience.may_change, settings.patience_us)
        self.pushes = Pushes(self.popularity, self.streams, self.decision)
        self.tables = Tables(
            settings,
            TableCompiler(master_key),
            term,
            self.members,
            self.view.rtt_us,
            self.pushes.wanted,
        )
        self.advice = Advice(
            Rehoming(settings.rehome_config, self.decision, self.paths),
            self.decision,
            self.consumers,
            self.streams,
            self.view,
            settings.intervals.report_us,
        )
        self.overview = Overview(
            self.members,
            self.view,
            self.streams,
            self.paths,
            self.decision,
            self.consumers,
            self.reports,
            self.tables,
        )

    def send(self, node: str, message: FromBrain, now_us: int) -> bool:
        """False: it is away, and nothing was sent."""
        connection = self.members.connection_of(node)
        return connection is not None and self.connections.send(connection, message, now_us)

    def state(self, now_us: int) -> bytes:
        """What a restart needs."""
        popularity = self.popularity.state()
        return pack(
            SavedState(
                saved_us=now_us,
                nodes=saving.saved_nodes(self.members),
                links=self.view.saved_links(),
                broadcasts=saving.saved_broadcasts(self.streams),
                next_stream_id=self.streams.next_id,
                retired=self.streams.retired(saving.MAX_RETIRED),
                views=popularity.views,
                campaigns=popularity.campaigns,
            )
        )

    def _restore(self, saved: SavedState, settings: BrainSettings, now_us: int) -> frozenset[str]:
        """Returns the nodes that were connected when it was saved."""
        known = {node.name: node for node in settings.nodes}
        connected = saving.restore_members(self.members, saved.nodes, known, now_us)
        # Who comes back does so within an attempt that nobody answers and the longest back-off;
        # only then its absence begins to count.
        away_us = now_us + OPENING_US + LONGEST_LIMIT_US
        self.view.restore(saved.links, known, now_us, away_us)
        saving.restore_streams(self.streams, saved.broadcasts, saved.retired, known, now_us)
        self.popularity.restore(PopularityState(saved.views, saved.campaigns), now_us)
        return connected
