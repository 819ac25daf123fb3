"""A primary that Redis Sentinel watches: who it is now, and connections that go there and nowhere else.

Written are only connections whose server called itself primary when they were made. When another primary was elected,
they are ended within a second: by the server's READONLY, by its end, or because the sentinels say so, so that an old
primary that nobody reached in time is not written any longer than that.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final

import structlog
from redis.asyncio import Connection, Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError
from redis.utils import str_if_bytes

from shared.addresses import Address, Place
from shared.connection import _PackedConnection, _PackedSSLConnection
from shared.pools import Pool, Prompt

ASK_WITHIN: Final = 0.5
"""Seconds a sentinel has for its answer; one that is frozen must not hold up the others' word."""
LOOK_EVERY: Final = 1.0
"""Seconds between looks who is the primary, while commands are sent."""

log = structlog.get_logger(__name__)


class PrimaryUnknownError(RedisConnectionError):
    """No sentinel knows a primary that may be written: a failover is under way, or no sentinel answers."""


class Sentinels:
    """The sentinels of one primary; asked together, for one of them may be frozen or cut off."""

    def __init__(self, address: Address) -> None:
        self.service = address.service
        self.clients = [
            Redis(
                host=host,
                port=port,
                ssl=address.tls,
                decode_responses=True,
                socket_timeout=ASK_WITHIN,
                socket_connect_timeout=ASK_WITHIN,
                **address.sentinel_options,
            )
            for host, port in address.hosts
        ]
        self._asking: asyncio.Task[Place] | None = None

    async def primary(self) -> Place:
        """Host and port by the newest election that any sentinel knows; raises PrimaryUnknownError.

        Whoever asks while the sentinels are being asked gets the same answer.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._asking)

    async def _ask_all(self) -> Place:
        answers = await asyncio.gather(*map(self._ask, self.clients), return_exceptions=True)
        states = [state for state in answers if not isinstance(state, BaseException)]
        if not states:
            why = "; ".join(dict.fromkeys(str(error) or repr(error) for error in answers))
            raise PrimaryUnknownError(f"no sentinel knows {self.service!r}: {why}")
        newest = max(states, key=_age)
        if newest["is_odown"] or not newest["is_master"]:
            raise PrimaryUnknownError(
                f"{self.service!r} is down, the sentinels say; another is about to be chosen"
            )
        return str(newest["ip"]), int(newest["port"])

    async def _ask(self, client: Redis) -> dict[str, Any]:
        async with asyncio.timeout(ASK_WITHIN):
            state: dict[str, Any] = await client.sentinel_master(self.service)  # type: ignore[no-untyped-call]
            return state

    async def close(self) -> None:
        """Ends the connections to the sentinels."""
        if self._asking is not None:  # not cancelled: a TLS handshake that is cut off leaves its socket open
            await asyncio.wait({self._asking})
        for client in self.clients:
            await client.aclose()


def _age(state: Mapping[str, Any]) -> tuple[int, bool]:
    """Orders the sentinels' words; the one that leads a failover tells the old primary until all replicas follow."""
    return int(state["config-epoch"]), "failover_in_progress" not in state["flags"]


class _Guided(Prompt, Connection):
    """A connection to whoever is the primary when it is made."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        self._sentinels = sentinels
        super().__init__(**options)

    async def _connect(self) -> None:
        self.host, self.port = await self._sentinels.primary()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def on_connect(self) -> None:
        """Greets the server, and asks whether it sees itself as the primary too."""
        await super().on_connect()
        await self.send_command("ROLE", check_health=False)
        role = str_if_bytes((await self.read_response())[0])
        if role != "master":
            raise RedisConnectionError(f"{self._host_error()} is a {role}, not the primary")

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """As in redis-py; READONLY ends the connection, so that the next one goes to the new primary."""
        try:
            return await super().read_response(*arguments, **options)
        except ReadOnlyError:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"{self._host_error()} is the primary no more") from None


class _GuidedConnection(_Guided, _PackedConnection):
    pass


class _GuidedSSLConnection(_Guided, _PackedSSLConnection):
    pass


class SentinelPool(Pool):
    """Connections to the primary of `address`; the same pool through every failover."""

    def __init__(self, address: Address, **options: Any) -> None:
        self._sentinels = Sentinels(address)
        kind = _GuidedSSLConnection if address.tls else _GuidedConnection
        super().__init__(kind, sentinels=self._sentinels, **options)
        self._primary: Place | None = None
        self._closing = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def get_connection(self, *_arguments: Any, **_options: Any) -> AbstractConnection:
        """A connection to the primary; raises redis-py's errors."""
        if self._looking is None or self._looking.done():
            self._closing.clear()
            self._looking = asyncio.create_task(self._keep_looking())
        return await super().get_connection()

    async def _keep_looking(self) -> None:
        """Looks every second for as long as a connection is in use: one that waits for an answer may wait in vain."""
        while not self._closing.is_set():
            await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._closing.wait()
            if not self._in_use_connections:
                return

    async def _look(self) -> None:
        """Drops every connection to a server that is the primary no more."""
        try:
            primary = await self._sentinels.primary()
        except (RedisError, OSError):
            return  # sentinels that do not answer are no reason to leave a primary that does
        if self._primary not in (None, primary):
            log.warning("redis.failover", before=self._primary, now=primary)
        self._primary = primary
        for connection in self.all_connections():
            if isinstance(connection, _Guided) and (connection.host, connection.port) != primary:
                connection.drop()

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Ends all connections, those to the sentinels too."""
        self._closing.set()
        if self._looking is not None:
            await asyncio.wait({self._looking})
        await self._sentinels.close()
        await super().disconnect(inuse_connections)
