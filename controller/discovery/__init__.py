"""What is known of nodes and links: reports and alarms in, a versioned picture out."""

from controller.discovery.events import (
    LossReason,
    NodeLost,
    NodeRecovered,
    NodeSuspected,
    PingWanted,
    ViewEvent,
)
from controller.discovery.link_table import SavedLinks
from controller.discovery.measurements import LinkMeasurement, NodeReport
from controller.discovery.network_view import DiscoveryConfig, NetworkView
from controller.discovery.snapshot import NetworkChanges, NetworkSnapshot, Relevance

__all__ = [
    "DiscoveryConfig",
    "LinkMeasurement",
    "LossReason",
    "NetworkChanges",
    "NetworkSnapshot",
    "NetworkView",
    "NodeLost",
    "NodeRecovered",
    "NodeReport",
    "NodeSuspected",
    "PingWanted",
    "Relevance",
    "SavedLinks",
    "ViewEvent",
]
