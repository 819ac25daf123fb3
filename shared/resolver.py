"""Looking up names for outgoing requests, so that a slow name server holds up only its own names."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from shared.threads import in_thread

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
Lookup = Callable[[str, int], Sequence[AddressInfo]]

MAX_LOOKUPS = 64
"""Threads at a time. The connector asks once for each name, however many requests wait for it."""


def system_lookup(host: str, port: int) -> Sequence[AddressInfo]:
    """Every address of `host` for a TCP connection, as the machine's own resolver orders them."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class Resolver(AbstractResolver):
    """Runs each lookup in a thread of its own, at most MAX_LOOKUPS at a time."""

    def __init__(self, lookup: Lookup = system_lookup) -> None:
        self._lookup = lookup
        self._slots = asyncio.Semaphore(MAX_LOOKUPS)

    async def addresses(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Every address of `host`; raises OSError (`socket.gaierror`) when it has none."""
        async with self._slots:
            return await in_thread(lambda: self._look_up(host, port), f"lookup {host}")

    def _look_up(self, host: str, port: int) -> Sequence[AddressInfo]:
        try:
            return self._lookup(host, port)
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "the name cannot be looked up") from None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The connector's question; scoped IPv6 addresses are left out, as nothing outside this link has
        one.
        """
        results = [
            ResolveResult(
                hostname=host,
                host=sockaddr[0],
                port=port,
                family=found,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found, _, _, _, sockaddr in await self.addresses(host, port)
            if found in (socket.AF_INET, socket.AF_INET6) and family in (socket.AF_UNSPEC, found)
        ]
        if not results:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        return results

    async def close(self) -> None:
        """Nothing to close: a thread that still waits ends with its lookup or the process."""
