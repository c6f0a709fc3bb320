"""`overlane controller`; and `overlane token`: what nodes and brain prove themselves by."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from control_client.certificates import KeyPair, issue, new_lab_ca
from control_client.errors import CertificateError
from control_client.files import write_private
from control_client.tokens import new_token, token_hash
from overlane.terminal import fail, settings_of

CA_NAME = "overlane-ca"
BRAIN_NAME = "overlane-brain"

token = typer.Typer(
    help="Make tokens, and certificates for a lab; a real deployment may bring its own.",
    no_args_is_help=True,
)

Out = Annotated[Path, typer.Option(help="Directory for the files; made if it is missing.")]


def controller(
    config: Annotated[Path, typer.Option(help="TOML configuration of the brain.")],
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set one key, such as api.listen=..."),
    ] = None,
) -> None:
    """Run the brain, which tells nodes their neighbours and paths."""
    from controller.daemon import run

    raise typer.Exit(run(config, settings_of(setting)))


@token.command()
def ca(out: Out = Path()) -> None:
    """An authority for a lab: overlane-ca.pem for everybody, its key for `token brain` alone."""
    files = _write_pair(out, CA_NAME, new_lab_ca("overlane lab", _now()))
    typer.echo(f"authority: {files[0]} (for nodes: ca_file), key: {files[1]}")


@token.command()
def brain(
    ca: Annotated[Path, typer.Option(help="Directory that `overlane token ca` wrote to.")],
    host: Annotated[list[str], typer.Option(help="Name or address nodes reach it by; repeat.")],
    out: Out = Path(),
) -> None:
    """The brain's certificate and key, signed by the lab's authority."""
    try:
        authority = KeyPair(
            (ca / f"{CA_NAME}.pem").read_bytes(), (ca / f"{CA_NAME}.key").read_bytes()
        )
        pair = issue(authority, BRAIN_NAME, host, "brain", _now())
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}") from None
    except CertificateError as error:
        raise fail(error) from None
    files = _write_pair(out, BRAIN_NAME, pair)
    typer.echo(f'certificate_file = "{files[0]}"\nkey_file = "{files[1]}"')


@token.command()
def node(
    name: Annotated[str, typer.Argument(help="The node's name.")],
    out: Out = Path(),
    node_id: Annotated[
        int | None, typer.Option(min=1, max=2**32 - 1, help="For the printed entry.")
    ] = None,
) -> None:
    """A node's token, as NAME.token for the node, and the entry with its hash for the brain."""
    if re.fullmatch(r"[A-Za-z0-9._-]{1,32}", name) is None:
        raise fail(f"{name!r}: a name has A-Z a-z 0-9 . _ - only, at most 32 of them", 2)
    made = new_token()
    path = out / f"{name}.token"
    if path.exists():
        raise fail(f"{path} is there already: a new token shuts the node out; remove it first")
    _write(out, path, f"{made}\n".encode())
    number = node_id if node_id is not None else "N  # what the node's configuration says"
    typer.echo(f"# {path} is for the node alone; this is for the brain's configuration:")
    typer.echo(f'[[nodes]]\nname = "{name}"\nnode_id = {number}')
    typer.echo(f'token_hash = "{token_hash(made)}"')


def _write_pair(out: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    certificate, key = out / f"{name}.pem", out / f"{name}.key"
    for path in (certificate, key):
        if path.exists():
            raise fail(f"{path} is there already; remove it first")
    _write(out, certificate, pair.certificate_pem)
    certificate.chmod(0o644)
    _write(out, key, pair.key_pem)
    return certificate, key


def _write(out: Path, path: Path, data: bytes) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_private(path, data)
    except OSError as error:
        raise fail(f"{path}: {error.strerror}") from None


def _now() -> datetime:
    return datetime.now(UTC)
