"""Connections to Redis: one `Store` per process, handed to whatever needs it."""

import zlib
from dataclasses import dataclass
from typing import Any

import hiredis
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

RedisClient = Redis
"""The client every function takes; it answers `str`."""

UNAVAILABLE = (RedisConnectionError, RedisTimeoutError, OSError)
"""What redis-py raises while the server is away (`BusyLoadingError` is a `ConnectionError`)."""


REFUSALS = ("CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN")
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


class _Packed:
    """Packs commands in C: for a batch of 256 heartbeats, 2,800 arguments, redis-py's own loop takes 2 ms.

    redis-py does the same for its synchronous connections (`HiredisRespSerializer`), not for these.
    """

    def pack_command(self, *args: Any) -> list[bytes]:
        """The command as one piece of bytes; a command of two words (`CLIENT KILL`) is two arguments."""
        return [hiredis.pack_command((*args[0].encode().split(), *args[1:]))]


class _PackedConnection(_Packed, Connection):
    pass


class _PackedSSLConnection(_Packed, SSLConnection):
    pass


class _PackedUnixConnection(_Packed, UnixDomainSocketConnection):
    pass


PACKED: dict[type, type] = {
    Connection: _PackedConnection,
    SSLConnection: _PackedSSLConnection,
    UnixDomainSocketConnection: _PackedUnixConnection,
}


def connect(url: str) -> RedisClient:
    """A client for `url` that answers `str`; nothing is sent before the first command.

    A command is tried once more, at once, when its pooled connection turns out dead, so that a restarted server costs
    no error; scripts bear being run twice. `socket_timeout` (5 s) must stay above every blocking read (2 s).
    """
    pool: ConnectionPool = ConnectionPool.from_url(
        url,
        decode_responses=True,
        socket_timeout=5,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
        health_check_interval=30,
    )
    pool.connection_class = PACKED[pool.connection_class]
    return Redis.from_pool(pool)
