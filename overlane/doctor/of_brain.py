"""A brain's configuration as a subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from controller.config import ControllerConfig
from controller.config_file import load
from overlane.doctor.certificates import CertificateFile
from overlane.doctor.check import ok, problems_of
from overlane.doctor.files import PrivateFile
from overlane.doctor.ports import WantedSocket
from overlane.doctor.resources import Needs
from overlane.doctor.subject import Subject
from service.address import parse_address
from service.errors import ConfigError

FILES_BESIDE_NODES = 256  # chosen: HTTP clients, state, log, libraries
_PRIVATE = ("master.key", "state.msgpack")


def of_brain(file: Path, tables: Mapping[str, Any]) -> Subject:
    """tables: what stands in the file."""
    subject = Subject(kind="brain", certificates=tuple(_certificate_files(file, tables)))
    try:
        config = load(file)
    except ConfigError as error:
        return replace(subject, configuration=problems_of(error, file))
    return replace(
        subject,
        configuration=(ok("valid", f"{file}: a brain of {len(config.nodes)} nodes"),),
        sockets=_sockets(config),
        files=tuple(_state_files(config.state_dir)),
        state_dir=config.state_dir,
        http=parse_address(config.api.listen),
        needs=Needs(FILES_BESIDE_NODES + len(config.nodes), cores=1),
    )


def _sockets(config: ControllerConfig) -> tuple[WantedSocket, ...]:
    return (
        WantedSocket("listen", "TCP", config.endpoint),
        WantedSocket("api.listen", "TCP", parse_address(config.api.listen)),
    )


def _state_files(directory: Path) -> Iterator[PrivateFile]:
    """Those there are; the first start makes them."""
    for name in _PRIVATE:
        if (directory / name).exists():
            yield PrivateFile(f"state_dir: {name}", directory / name, "state")


def _certificate_files(file: Path, tables: Mapping[str, Any]) -> Iterator[CertificateFile]:
    """From the text, as `load` refuses all of a configuration whose files cannot be used."""
    if isinstance(name := tables.get("certificate_file"), str):
        key = tables.get("key_file")
        key_file = file.parent / key if isinstance(key, str) else None
        yield CertificateFile("certificate_file", file.parent / name, "brain", key_file)
    if isinstance(name := tables.get("client_ca_file"), str):
        yield CertificateFile("client_ca_file", file.parent / name, "authority")
