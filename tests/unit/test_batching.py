"""Heartbeats wait for Redis together: bounded in number and in time."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from services.collector import batching
from services.collector.batching import BATCH, IN_FLIGHT, Batcher
from shared import scripts
from shared.connection import Store
from shared.scripts import Beat, monitor_keys

BEAT = Beat(monitor_keys(Store(None), "m", "hash"), "ok")  # type: ignore[arg-type]


class Redis:
    """Stands for a Redis whose answers come, or fail, when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[int] = []
        self.outcome: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(scripts, "beat", self.beat)

    async def beat(self, _redis: object, _shard: int, beats: list[Beat]) -> list[int]:
        self.calls.append(len(beats))
        error = await self.outcome
        if error:
            raise error
        return [scripts.RECORDED] * len(beats)


async def test_who_waits_learns_that_redis_is_away_with_the_first_call_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A queue of many calls is not worked off one timeout after another, nor recorded after its clients gave up."""
    redis = Redis(monkeypatch)
    batcher = Batcher(Store(None))  # type: ignore[arg-type]
    futures = [batcher.submit(BEAT) for _ in range(10 * BATCH)]
    await asyncio.sleep(0)
    redis.outcome.set_result(RedisTimeoutError("Timeout reading"))
    answers = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 1)
    assert all(isinstance(answer, RedisTimeoutError) for answer in answers)
    assert redis.calls == [BATCH] * IN_FLIGHT


async def test_more_than_may_wait_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are recorded when Redis answers."""
    monkeypatch.setattr(batching, "WAITING", 10)
    redis = Redis(monkeypatch)
    batcher = Batcher(Store(None))  # type: ignore[arg-type]
    futures = [batcher.submit(BEAT) for _ in range(12)]
    redis.outcome.set_result(None)
    answers = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 1)
    assert answers[:10] == [scripts.RECORDED] * 10
    assert [type(answer) for answer in answers[10:]] == [RedisConnectionError] * 2


async def test_nobody_is_answered_before_redis_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An acknowledged heartbeat is a recorded one; those for which no call had a place go with the next."""
    redis = Redis(monkeypatch)
    batcher = Batcher(Store(None))  # type: ignore[arg-type]
    futures = [batcher.submit(BEAT) for _ in range(5 * BATCH)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert redis.calls == [BATCH] * IN_FLIGHT
    assert not any(future.done() for future in futures)
    redis.outcome.set_result(None)
    assert await asyncio.wait_for(asyncio.gather(*futures), 1) == [scripts.RECORDED] * 5 * BATCH
    assert sum(redis.calls) == 5 * BATCH


async def test_settled_waits_for_those_who_are_here_and_for_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those under way, and those who wait for a place; who comes meanwhile keeps nobody."""
    redis = Redis(monkeypatch)
    batcher = Batcher(Store(None))  # type: ignore[arg-type]
    await asyncio.wait_for(batcher.settled(0), 1)
    here = [batcher.submit(BEAT) for _ in range((IN_FLIGHT + 2) * BATCH)]
    waiting = asyncio.create_task(batcher.settled(0))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    answered, redis.outcome = redis.outcome, asyncio.get_running_loop().create_future()
    later = [batcher.submit(BEAT) for _ in range(10 * BATCH)]
    answered.set_result(None)
    await asyncio.sleep(0.01)
    assert not waiting.done(), "two batches of them are only now under way"
    redis.outcome.set_result(None)
    await asyncio.wait_for(waiting, 1)
    assert all(one.done() for one in here)
    await asyncio.gather(*later)


async def test_settled_ends_when_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who wait have their outcome then: the error."""
    redis = Redis(monkeypatch)
    batcher = Batcher(Store(None))  # type: ignore[arg-type]
    futures = [batcher.submit(BEAT) for _ in range(10 * BATCH)]
    waiting = asyncio.create_task(batcher.settled(0))
    await asyncio.sleep(0.01)
    redis.outcome.set_result(RedisTimeoutError("Timeout reading"))
    await asyncio.wait_for(waiting, 1)
    assert all(isinstance(one.exception(), RedisTimeoutError) for one in futures)
