"""What a time without listeners does to deadlines, to the ms, and how collectors tell of it."""

import contextlib
from collections.abc import Mapping

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from waiting import under_way, wait_until
from watching import NothingWaits, beaten, now_ms

from services.collector import listening
from services.watchdog import transitions
from shared import keys, monitors, scripts
from shared.connection import Store
from shared.model import credited
from shared.settings import load

BASE = -100_000
"""When the monitors below were heard last, in ms from now; timeout 30 s and grace 10 s make it due at -60,000."""


async def due_with_gaps(store: Store, gaps: Mapping[int, int]) -> tuple[str, int, list[int]]:
    """A monitor whose deadline has passed, judged with these gaps (ms from now): its id, now, the verdicts."""
    monitor_id = await beaten(store, timeout=30_000, grace=10_000)
    await scripts.stamp(store.redis, 0, 10_000)
    now = await now_ms(store)
    await store.redis.hset(keys.monitor(0, monitor_id), "seen", str(now + BASE))  # type: ignore[misc]
    await store.redis.zadd(keys.deadlines(0), {monitor_id: now + BASE + 40_000})
    for start, end in gaps.items():
        await store.redis.zadd(keys.gaps(0), {f"{now + start}-{now + end}": now + end})
    _, results = await transitions.judged(store, 0, [monitor_id])
    return monitor_id, now, list(results.values())


@pytest.mark.parametrize(
    ("gaps", "deadline"),
    [
        ({-90_000: -10_000}, 30_000),
        ({-60_001: -10_000}, 30_000),
        ({-110_000: -99_999, -70_000: -1}, 39_999),
        ({-90_000: -50_000, -20_000: -1_000}, 39_000),
        ({-90_000: -70_000, -40_000: -30_000, -1_000: 0}, 40_000),
    ],
    ids=["one", "just before the deadline", "two at once", "one by the other", "a chain"],
)
async def test_a_gap_makes_it_its_end_and_the_full_time(
    store: Store, gaps: dict[int, int], deadline: int
) -> None:
    """Each gap that touches the deadline, also one that another gap moved, makes it the gap's end + timeout + grace."""
    monitor_id, now, results = await due_with_gaps(store, gaps)
    assert results == [scripts.PUT_OFF]
    assert await store.redis.zscore(keys.deadlines(0), monitor_id) == now + deadline


@pytest.mark.parametrize(
    "gaps",
    [{-60_000: -1_000}, {-200_000: -100_000}, {-90_000: -80_000}],
    ids=["after the deadline", "before the last heartbeat", "credited and over"],
)
async def test_a_gap_excuses_no_other_silence(store: Store, gaps: dict[int, int]) -> None:
    """Who was silent before it, or for its full time after it, is dead."""
    monitor_id, _, (lag,) = await due_with_gaps(store, gaps)
    assert lag >= 40_000
    assert (await monitors.get(store, monitor_id)).status == "dead"


@pytest.mark.parametrize("order", [1, -1], ids=["longest unheard first", "longest unheard last"])
async def test_each_of_a_call_is_credited_its_own_gaps(store: Store, order: int) -> None:
    """Of many gaps each monitor has those after its last heartbeat, whatever the one before it in the call needed."""
    ids = [await beaten(store, timeout=30_000, grace=10_000) for _ in range(6)][::order]
    await scripts.stamp(store.redis, 0, 10_000)
    now = await now_ms(store)
    gaps = [(now - at, now - at + 5_000) for at in range(400_000, 5_000, -10_000)]
    await store.redis.zadd(keys.gaps(0), {f"{start}-{end}": end for start, end in gaps})
    expected = {}
    for monitor_id, ago in zip(ids[::order], range(350_000, 50_000, -50_000), strict=True):
        heard = now - ago
        await store.redis.hset(keys.monitor(0, monitor_id), "seen", str(heard))  # type: ignore[misc]
        await store.redis.zadd(keys.deadlines(0), {monitor_id: heard + 40_000})
        expected[monitor_id], _ = credited(heard + 40_000, heard, gaps, 40_000)
    _, results = await scripts.declare(store.redis, 0, dict.fromkeys(ids, ""))
    assert results == [scripts.PUT_OFF] * len(ids)
    found = await store.redis.zmscore(keys.deadlines(0), ids)
    assert dict(zip(ids, found, strict=True)) == expected


async def test_nothing_is_declared_before_a_gap_could_be_credited(store: Store) -> None:
    """A stamp that is old enough to become a gap is stale: between the two nobody could be excused."""
    monitor_id = await beaten(store, timeout=1)
    await store.redis.zadd(keys.deadlines(0), {monitor_id: 1})
    await store.redis.set(keys.ingest(0), await now_ms(store) - scripts.GAP_MS)
    assert (await scripts.due(store.redis, 0, 10)).stale
    assert (await scripts.perish(store.redis, 0, [monitor_id]))[1] == []
    assert (await scripts.declare(store.redis, 0, {monitor_id: ""}))[1] == []


@contextlib.asynccontextmanager
async def stamping(store: Store):
    async with under_way(listening.keep_stamping(store, load(), NothingWaits())):
        yield


async def test_a_collector_stamps_on_after_any_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage, or a bug, is a gap and not the end of listening."""
    errors = [ValueError("a bug"), RedisConnectionError("away")]
    real = scripts.stamp

    async def stamp(*arguments: object) -> int:
        if errors:
            raise errors.pop()
        return await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scripts, "stamp", stamp)
    monkeypatch.setattr(listening, "STAMP_EVERY", 0.01)
    async with stamping(store):
        await wait_until(lambda: store.redis.exists(keys.ingest(0)), "a stamp after the errors")


async def test_one_blindness_is_one_event_however_many_shards(store: Store) -> None:
    """Every shard records its gap, the first alone tells of it."""
    sharded = Store(store.redis, 4)
    for shard in range(4):
        await store.redis.set(keys.ingest(shard), await now_ms(store) - 20_000)
    async with stamping(sharded):
        await wait_until(lambda: recorded(sharded, 4), "every shard's gap")
    told = [await store.redis.xlen(keys.events(shard)) for shard in range(4)]
    assert told == [1, 0, 0, 0]


async def recorded(store: Store, count: int) -> bool:
    return sum([await store.redis.zcard(keys.gaps(shard)) for shard in range(store.shards)]) == count
