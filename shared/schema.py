"""The version of the data in Redis, checked at every start, with the place for migrations."""

from collections.abc import Awaitable, Callable

from shared import keys, migrations
from shared.connection import RedisClient, Store
from shared.errors import ConfigError

VERSION = 2

MIGRATIONS: dict[int, Callable[[Store], Awaitable[None]]] = {1: migrations.shrink_monitors}
"""From each version the step to the next, run in order at start by whichever process comes first.

A step bears being run twice, for the process that runs it may be killed.
"""


async def open_store(redis: RedisClient, shards: int) -> Store:
    """The store of this server, its data checked and migrated.

    Raises ConfigError when the data was written by a newer MishPulse or with another number of shards.
    """
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hsetnx(keys.SCHEMA, "version", str(VERSION))
        pipe.hsetnx(keys.SCHEMA, "shards", str(shards))
        pipe.hgetall(keys.SCHEMA)
        _, _, schema = await pipe.execute()
    stored, version = int(schema["shards"]), int(schema["version"])
    if version > VERSION:
        raise ConfigError(
            f"the data has schema version {version}; this MishPulse knows {VERSION}: upgrade it"
        )
    if stored != shards:
        raise ConfigError(
            f"PULSE_SHARDS is {shards}, but the data was written with {stored}: set it to {stored}"
        )
    store = Store(redis, shards)
    while version < VERSION:
        await MIGRATIONS[version](store)
        version += 1
        await redis.hset(keys.SCHEMA, "version", str(version))  # type: ignore[misc]
    return store
