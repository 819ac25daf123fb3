"""A primary that sentinels watch: found, followed through failovers, and never written once it is replaced."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from servers import binaries
from telling import Program, Story, telling
from test_story import DEAD, comes_back, comes_to_life, dies_and_is_heard
from topology import SentinelGroup, eventually
from waiting import wait_until

from shared.addresses import parse
from shared.connection import Store, connect, is_away
from shared.queue import depth, hint, open_queue
from shared.schema import open_store
from shared.sentinel import PrimaryUnknownError, Sentinels

SERVES_WITHIN = 15.0
"""Seconds from the primary's end to a write that is acknowledged again."""


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelGroup]:
    found = binaries()
    binary = found.get("redis-server") or found["valkey"]
    group = SentinelGroup(binary, tmp_path_factory.mktemp("sentinel"))
    try:
        yield group.start()
    finally:
        group.stop()


@pytest.fixture
async def store(group: SentinelGroup) -> AsyncIterator[Store]:
    """An empty store on a group in which all is well."""
    await asyncio.to_thread(eventually, group.settled, "the group is well", 60)
    redis = connect(group.url)
    await redis.flushall()
    yield await open_store(redis)
    await redis.aclose()


async def serves(redis: Redis, key: str = "mp:{0}:served") -> bool:
    """Whether a write is acknowledged; what fails meanwhile is always something that waiting may help."""
    try:
        return bool(await redis.set(key, "1"))
    except RedisError as error:
        if not is_away(error):
            raise
        return False


def addresses(redis: Redis) -> set[int]:
    """The ports that the living connections of a client go to."""
    pool = redis.connection_pool
    every = [*pool._available_connections, *pool._in_use_connections]
    return {connection.port for connection in every if connection.is_connected}


async def test_a_killed_primary_is_replaced(group: SentinelGroup, store: Store) -> None:
    """Writes are refused for a moment, and then go to the new primary by the same client."""
    await store.redis.set("mp:{0}:before", "1")
    await store.redis.wait(1, 1000)
    old = group.primary
    old.kill()
    began = time.monotonic()
    await wait_until(lambda: serves(store.redis), "a write acknowledged", SERVES_WITHIN)
    assert time.monotonic() - began <= SERVES_WITHIN
    assert await store.redis.get("mp:{0}:before") == "1"
    assert addresses(store.redis) == {group.primary.port}
    old.start("--replicaof", "127.0.0.1", str(group.primary.port))


async def test_a_frozen_primary_is_left_and_never_written_again(group: SentinelGroup, store: Store) -> None:
    """Also by a command that waits for it: it fails, and is not sent to a server that wakes up replaced."""
    old = group.primary
    waiting = [asyncio.create_task(store.redis.xread({"mp:{0}:events": "$"}, block=1500)) for _ in range(5)]
    await wait_until(lambda: len(store.redis.connection_pool._in_use_connections) == 5, "all wait")
    old.freeze()
    try:
        await wait_until(lambda: serves(store.redis), "a write acknowledged", SERVES_WITHIN)
        await asyncio.gather(*waiting, return_exceptions=True)
        assert addresses(store.redis) == {group.primary.port} != {old.port}
    finally:
        old.thaw()
    for number in range(200):
        await store.redis.rpush("mp:{0}:list", number)
    assert await store.redis.lrange("mp:{0}:list", 0, -1) == [str(number) for number in range(200)]
    await asyncio.to_thread(eventually, group.settled, "the old primary follows the new one", 60)
    assert await store.redis.llen("mp:{0}:list") == 200


async def test_a_primary_cut_off_from_the_sentinels_alone_is_left_within_seconds(
    group: SentinelGroup, store: Store
) -> None:
    """The clients still reach it and it still says that it is the primary; the sentinels' word counts."""
    old = group.primary
    await store.redis.set("mp:{0}:a", "1")
    # To the sentinels it is gone: they may not talk to it any more.
    old.ask("ACL", "SETUSER", "default", "-ping", "-info", "-publish", "-role", "-replicaof", "-slaveof")
    try:
        await wait_until(lambda: group.primary is not old, "another was elected", SERVES_WITHIN)
        assert old.ask("SET", "mp:{0}:probe", "1")  # it takes writes: this one is lost
        await store.redis.exists("mp:{0}:a")  # the look that a command sets off
        await wait_until(lambda: left(store.redis, old.port), "the old one is left", 5)
        assert await store.redis.get("mp:{0}:probe") is None
    finally:
        old.ask("ACL", "SETUSER", "default", "+@all")


async def left(redis: Redis, port: int) -> bool:
    with contextlib.suppress(RedisError):
        await redis.exists("mp:{0}:a")
    return port not in addresses(redis)


async def test_an_ordered_failover_loses_nothing_once_writes_are_paused(
    group: SentinelGroup, store: Store
) -> None:
    """As docs/operations.md says. The old primary is left within two seconds, though it goes on as one for a while."""
    old = group.primary
    old.ask("CLIENT", "PAUSE", 10_000, "WRITE")
    waiting = [asyncio.create_task(store.redis.sadd("mp:{0}:set", number)) for number in range(8)]
    await wait_until(lambda: len(store.redis.connection_pool._in_use_connections) == 8, "all wait")
    group.watchers[0].ask("SENTINEL", "FAILOVER", group.service)
    await wait_until(lambda: group.primary is not old, "another was elected", SERVES_WITHIN)
    assert old.ask("ROLE")[0] == "master"
    async with asyncio.timeout(3):
        assert await asyncio.gather(*waiting) == [1] * 8
    old.ask("CLIENT", "UNPAUSE")
    assert addresses(store.redis) == {group.primary.port}
    assert await store.redis.scard("mp:{0}:set") == 8


async def test_a_frozen_sentinel_holds_nobody_up(group: SentinelGroup) -> None:
    """The others are asked at the same time."""
    group.watchers[0].freeze()
    try:
        redis = connect(group.url)
        began = time.monotonic()
        assert await redis.ping()
        assert time.monotonic() - began < 2
        await redis.aclose()
    finally:
        group.watchers[0].thaw()


async def test_the_newest_election_counts() -> None:
    """A sentinel that was cut off, or that leads a failover which has not ended, sends nobody to the old primary."""

    def state(port: int, epoch: int, *flags: str) -> dict[str, Any]:
        known = {"ip": "h", "port": port, "config-epoch": epoch, "flags": {"master", *flags}}
        return {**known, "is_master": True, "is_odown": "o_down" in flags}

    async def told(*states: dict[str, Any] | Exception) -> int:
        sentinels = Sentinels(parse("redis+sentinel://a,b,c/pulse"))
        with mock.patch.object(sentinels, "_ask", side_effect=states):
            return (await sentinels.primary())[1]

    assert await told(state(1, 4), state(2, 5), RedisError("frozen")) == 2
    assert await told(state(1, 5, "failover_in_progress"), state(2, 5), state(1, 4)) == 2
    assert await told(RedisError("gone"), state(1, 4), RedisError("gone")) == 1
    with pytest.raises(PrimaryUnknownError, match="another is about to be chosen"):
        await told(state(1, 4, "s_down", "o_down"), state(1, 3), state(1, 3))


async def test_no_sentinel_is_an_outage_in_words(tmp_path: Path) -> None:
    """As when a server is away: waiting may help."""
    redis = connect("redis+sentinel://127.0.0.1:1,127.0.0.1:2/pulse")
    with pytest.raises(RedisError, match="no sentinel knows 'pulse'") as told:
        await redis.ping()
    assert is_away(told.value)
    assert is_away(PrimaryUnknownError())
    await redis.aclose()


async def test_the_job_queue_follows_too(group: SentinelGroup, store: Store) -> None:
    """A job queue behind sentinels."""
    queue = open_queue(group.url, "channel")
    await hint(queue, ["channel:1"])
    assert await depth(queue, "channel") == 1
    await queue.aclose(close_connection_pool=True)


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    started: list[Program] = []
    yield started
    for program in started:
        program.kill()


async def accepted(story: Story, url: str) -> bool:
    return bool((await story.admin.post(url)).status_code == 200)


async def test_the_whole_story_goes_on_through_a_failover(
    tmp_path: Path, group: SentinelGroup, store: Store, programs: list[Program]
) -> None:
    """The primary is killed: no process ends, nobody is blamed, and the next silence is told as ever."""
    async with telling(tmp_path, PULSE_REDIS_URL=group.url) as story:
        await story.channels()
        doomed = await comes_to_life(story, programs)
        await comes_to_life(story, programs, "healthy")
        assert story.group.process is not None
        before = children(story.group.process.pid)
        await store.redis.wait(1, 1000)
        old = group.primary
        old.kill()
        url = str(doomed.process.args[3])  # type: ignore[index]
        await wait_until(lambda: accepted(story, url), "a heartbeat accepted again", SERVES_WITHIN)
        old.start("--replicaof", "127.0.0.1", str(group.primary.port))
        await wait_until(lambda: ready(story), "/readyz", SERVES_WITHIN)
        assert story.heard(DEAD) == (0, 0, 0)
        await tells_again(story)
        await dies_and_is_heard(story, doomed)
        await comes_back(story, programs, url)
        assert story.heard("healthy") == (0, 0, 0)
        assert children(story.group.process.pid) == before


async def tells_again(story: Story) -> None:
    """An error reaches everybody after the failover: heartbeats, streams, the queue and deliveries all go on."""

    async def made() -> dict[str, Any] | None:
        """On a cluster this writes to several nodes, of which the last to hear of the new primary refuses longest."""
        answer = await story.admin.post("/api/monitors", json={"name": "afterwards", "timeout": 60})
        return answer.json() if answer.status_code == 201 else None

    monitor = await wait_until(made, "a monitor made", SERVES_WITHIN)
    assert monitor is not None

    async def reported() -> bool:
        answer = await story.admin.post(
            monitor["heartbeat_url"], json={"status": "error", "message": "and on"}
        )
        return bool(answer.status_code == 200)

    await wait_until(reported, "an error accepted", SERVES_WITHIN)
    await story.all_heard("and on", SERVES_WITHIN)


async def ready(story: Story) -> bool:
    return bool((await story.admin.get("/readyz")).status_code == 200)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
