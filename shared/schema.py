"""The version of the data in Redis, checked at every start, with the place for migrations."""

from collections.abc import Awaitable, Callable

from shared import keys, migrations
from shared.cluster import Cluster
from shared.connection import RedisClient, Store
from shared.errors import ConfigError

VERSION = 3

MIGRATIONS: dict[int, Callable[[Store], Awaitable[None]]] = {
    1: migrations.shrink_monitors,
    2: migrations.unlist_open_incidents,
}
"""From each version the step to the next, run in order at start by whichever process comes first.

A step bears being run twice, for the process that runs it may be killed.
"""


CLUSTER_SHARDS = 64
"""What a cluster is given when its data is first written: enough to spread evenly over a dozen nodes."""


async def open_store(redis: RedisClient, shards: int | None = None) -> Store:
    """The store of this server, its data checked and migrated.

    Without `shards` the data's own number counts; the first to write gives one server 1 and a cluster 64. Raises
    ConfigError when the data was written by a newer MishPulse or with another number of shards, and when the server
    is a cluster's node and the URL does not say so.
    """
    first = shards or (CLUSTER_SHARDS if await _is_cluster(redis) else 1)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hsetnx(keys.SCHEMA, "version", str(VERSION))
        pipe.hsetnx(keys.SCHEMA, "shards", str(first))
        pipe.hgetall(keys.SCHEMA)
        _, _, schema = await pipe.execute()
    stored, version = int(schema["shards"]), int(schema["version"])
    if version > VERSION:
        raise ConfigError(
            f"the data has schema version {version}; this MishPulse knows {VERSION}: upgrade it"
        )
    if shards not in (None, stored):
        raise ConfigError(
            f"PULSE_SHARDS is {shards}, but the data was written with {stored}: set it to {stored}"
        )
    store = Store(redis, stored)
    while version < VERSION:
        await MIGRATIONS[version](store)
        version += 1
        await redis.hset(keys.SCHEMA, "version", str(version))  # type: ignore[misc]
    return store


async def _is_cluster(redis: RedisClient) -> bool:
    """Whether the client sees a whole cluster; raises ConfigError when it sees one node of one."""
    if isinstance(redis, Cluster):
        return True
    if (await redis.info("cluster")).get("cluster_enabled"):
        raise ConfigError("this Redis is a node of a cluster: PULSE_REDIS_URL must be redis+cluster://…")
    return False
