"""Connections to Redis: one `Store` per process, handed to whatever needs it."""

import asyncio
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import hiredis
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared import addresses
from shared.client import Client

RedisClient = Redis
"""The client every function takes; it answers `str`."""

UNAVAILABLE = (RedisConnectionError, RedisTimeoutError, OSError)
"""What redis-py raises while the server is away (`BusyLoadingError` is a `ConnectionError`)."""


REFUSALS = (
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
)
"""How a server that is there says that it cannot write now: full memory or disk, a failover under way."""


def is_away(error: BaseException) -> bool:
    """Whether waiting may help: the server is unreachable or refuses every write for now."""
    # redis-py strips the code of some of these, but then raises a class of that name.
    names = (str(error).partition(" ")[0], type(error).__name__.removesuffix("Error").upper())
    refused = isinstance(error, RedisError) and (names[0] in REFUSALS or names[1] in REFUSALS)
    return isinstance(error, UNAVAILABLE) or refused or isinstance(error, OutOfMemoryError)


@dataclass(frozen=True, slots=True)
class Store:
    """A Redis (or Valkey) server and the number of logical shards its data is split into."""

    redis: RedisClient
    shards: int = 1

    def shard_of(self, name: str) -> int:
        """The shard of a monitor id, token hash or target; the same in every process and version (CRC-32)."""
        return zlib.crc32(name.encode()) % self.shards


@dataclass(frozen=True, slots=True)
class Packed:
    """The last arguments of a command, written already as the server reads them; `pack` makes their pieces."""

    count: int
    wire: bytes


def pack(*values: str) -> bytes:
    """Arguments as the server reads them (RESP bulk strings)."""
    encoded = [value.encode() for value in values]
    return b"".join([b"$%d\r\n%b\r\n" % (len(value), value) for value in encoded])


class _Packed(AbstractConnection):
    """Packs commands in C, for scripts are given hundreds of arguments; what is `Packed` already is only appended.

    redis-py does the same for its synchronous connections (`HiredisRespSerializer`), not for these.
    """

    def pack_command(self, *args: Any) -> list[bytes]:
        """The command as one piece of bytes; a command of two words (`CLIENT KILL`) is two arguments."""
        words = args[0].encode().split()
        last = args[-1]
        if last.__class__ is not Packed:
            return [hiredis.pack_command((*words, *args[1:]))]
        head: bytes = hiredis.pack_command((*words, *args[1:-1]))
        count, _, rest = head.partition(b"\r\n")
        return [b"*%d\r\n%b%b" % (int(count[1:]) + last.count, rest, last.wire)]

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Writes a command out, in `socket_timeout` seconds at most.

        redis-py does it by `asyncio.wait_for`, which makes a task for each command and, before Python 3.12, drops a
        cancel that arrives at that moment: a loop that sends commands would never end.
        """
        if not self.is_connected:
            await self.connect()  # type: ignore[no-untyped-call]
        elif check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        chunks = [command.encode()] if isinstance(command, str) else command
        writer = self._writer
        if writer is None:
            raise RedisConnectionError("the connection was closed meanwhile")
        try:
            async with asyncio.timeout(self.socket_timeout):
                writer.writelines([chunks] if isinstance(chunks, bytes) else chunks)
                await writer.drain()
        except BaseException as error:
            # A command may be half written: this connection is good for nothing more.
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError("Timeout writing to socket") from None
            if isinstance(error, OSError):
                raise RedisConnectionError(f"Error while writing to socket: {error}") from error
            raise


class _PackedConnection(_Packed, Connection):
    pass


class _PackedSSLConnection(_Packed, SSLConnection):
    """Through TLS, which says good-bye and waits for an answer; after an error nobody waits, so it ends at once.

    redis-py forgets such a connection, and its socket stays open until the server answers.
    """

    async def disconnect(self, nowait: bool = False) -> None:
        """As in redis-py; `nowait` ends the connection without a word."""
        writer = self._writer
        await super().disconnect(nowait=nowait)
        if nowait and writer is not None:
            writer.transport.abort()


class _PackedUnixConnection(_Packed, UnixDomainSocketConnection):
    pass


PACKED: dict[type, type] = {
    Connection: _PackedConnection,
    SSLConnection: _PackedSSLConnection,
    UnixDomainSocketConnection: _PackedUnixConnection,
}


OPTIONS: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "retry": Retry(NoBackoff(), 1),
    "health_check_interval": 30,
}
"""A command is tried once more, at once, when its pooled connection turns out dead, so that a restarted server costs
no error; scripts bear being run twice. `socket_timeout` (5 s) must stay above every blocking read (2 s)."""


def connect(url: str) -> RedisClient:
    """A client for `url` (see `shared.addresses`) that answers `str`; nothing is sent before the first command.

    Raises ValueError when the URL is wrong.
    """
    address = addresses.parse(url)
    options = {**OPTIONS, "decode_responses": True, "retry_on_error": [RedisConnectionError]}
    if address.kind == "cluster":
        from shared.cluster import Cluster  # noqa: PLC0415 - most processes have one server

        return Cluster(address, **options)
    return Client.from_pool(connection_pool(url, **options))


def connection_pool(url: str, **options: Any) -> ConnectionPool:
    """Connections to the one server of `url`, or to the primary that its sentinels name; raises ValueError."""
    address = addresses.parse(url)
    if address.kind == "cluster":
        raise ValueError("a cluster is more than one server")
    if address.kind == "sentinel":
        from shared.sentinel import SentinelPool  # noqa: PLC0415 - most processes have one server

        return SentinelPool(address, **{**options, **address.options})
    pool: ConnectionPool = ConnectionPool.from_url(url, **options)
    pool.connection_class = PACKED[pool.connection_class]
    return pool
