"""What there is to look at: values made of a configuration, for the checks to take."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from overlane.doctor.brain import BrainAddress
from overlane.doctor.certificates import CertificateFile
from overlane.doctor.check import Check
from overlane.doctor.files import PrivateFile
from overlane.doctor.ports import WantedSocket
from overlane.doctor.resources import Needs
from overlane.doctor.routes import Peer
from service.address import Address


@dataclass(frozen=True, slots=True)
class Subject:
    """The host alone, or a node or brain on it.

    configuration: whether it is valid. listen: a node's overlay address. http: where it tells of
    itself. Of a configuration that is no use only the files it names are known.
    """

    kind: Literal["host", "node", "brain"] = "host"
    name: str = ""
    configuration: tuple[Check, ...] = ()
    sockets: tuple[WantedSocket, ...] = ()
    files: tuple[PrivateFile, ...] = ()
    certificates: tuple[CertificateFile, ...] = ()
    state_dir: Path | None = None
    table_file: Path | None = None
    brain: BrainAddress | None = None
    listen: Address | None = None
    peers: tuple[Peer, ...] = ()
    http: Address | None = None
    needs: Needs = field(default_factory=Needs)
    use_gso: bool = True
    use_gro: bool = True
