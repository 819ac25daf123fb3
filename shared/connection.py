"""Connections to Redis: one `Store` per process, handed to whatever needs it."""

import zlib
from dataclasses import dataclass

from redis.asyncio import Redis
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


def connect(url: str) -> RedisClient:
    """A client for `url` that answers `str`; nothing is sent before the first command.

    A command is tried once more, at once, when its pooled connection turns out dead, so that a restarted server costs
    no error; scripts bear being run twice. `socket_timeout` (5 s) must stay above every blocking read (2 s).
    """
    client: RedisClient = Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=5,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
        health_check_interval=30,
    )
    return client
