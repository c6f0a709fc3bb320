"""HTTP servers of daemons: where they listen, and why they cannot."""

from __future__ import annotations

import errno
import os
import ssl

from aiohttp import web

from service.address import Address, format_address
from service.errors import BindError

SHUTDOWN_S = 0.5  # chosen: what requests under way get when a daemon stops


class Server:
    """A running HTTP server. address: where it listens, the drawn port included."""

    def __init__(self, runner: web.AppRunner, address: str) -> None:
        self.address = address
        self._runner = runner

    async def close(self) -> None:
        """Stop listening; requests under way are cut."""
        await self._runner.cleanup()


async def start_server(
    application: web.Application, key: str, address: Address, tls: ssl.SSLContext | None = None
) -> Server:
    """key: of the configuration that names the address. Raises BindError."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    site = web.TCPSite(runner, *address, ssl_context=tls)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise bind_error(key, "TCP", address, error) from None
    host, port = runner.addresses[0][:2]
    return Server(runner, format_address((host, port)))


def bind_error(key: str, transport: str, address: Address, error: OSError) -> BindError:
    """Why the socket that a configuration key asks for cannot be had, and what to do, in one line.

    transport: "UDP" or "TCP".
    """
    where = format_address(address)
    mend = bind_mend(transport, address, error)
    reason = os.strerror(error.errno) if error.errno else str(error)
    text = f"{key}: cannot bind {transport} {where}: {reason}"
    return BindError(f"{text}; {mend}" if mend else text)


def bind_mend(transport: str, address: Address, error: OSError) -> str | None:
    """What to do about it; None if there is nothing better to say than the reason."""
    port = address[1]
    list_option = "u" if transport == "UDP" else "t"
    return {
        errno.EADDRINUSE: f"find who has it with: ss -{list_option}lnp 'sport = :{port}', "
        "and stop that or choose another port",
        errno.EADDRNOTAVAIL: "this host has no such address; list those it has with: ip address",
        errno.EACCES: f"port {port} needs CAP_NET_BIND_SERVICE; choose one above 1023, or grant it",
        errno.EAFNOSUPPORT: "this kernel has no IPv6; give an IPv4 address",
        errno.EMFILE: "raise the limit on open files (ulimit -n)",
    }.get(error.errno or 0)
