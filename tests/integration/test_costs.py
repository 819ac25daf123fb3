"""What things cost, in commands, script calls and calls of Python: figures that no noise moves, so that growth shows.

Times are measured by `make bench`. A number here may be lowered freely; raising one wants a reason.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import watching
from waiting import wait_until

from services.collector.batching import BATCH, Batcher
from services.watchdog import sweep, transitions
from shared import keys, monitors, scripts
from shared.connection import RedisClient, Store
from shared.deliveries import Delivery, NewDelivery, create
from shared.monitors import NewMonitor
from shared.pump import Pump
from shared.retry import Outcome
from shared.scripts import Beat
from shared.workers import renew

BEATS = 1_000
CALLS_OF_PYTHON = 22
"""For one heartbeat, in Python 3.11 to 3.13."""
TARGET = "webhook:1"
LUA = Path(scripts.__file__).parent / "lua"


class Commands(dict[str, int]):
    """Calls of each command, those inside scripts too, by its name in lower case."""

    @property
    def scripts(self) -> int:
        return self.get("evalsha", 0) + self.get("eval", 0)

    @property
    def total(self) -> int:
        """All but the script calls themselves."""
        return sum(self.values()) - self.scripts


@asynccontextmanager
async def counted(store: Store) -> AsyncIterator[Commands]:
    """The commands that Redis runs within the block."""
    found = Commands()
    for path in LUA.glob("*.lua"):
        await store.redis.script_load(scripts.source(path.stem)[0])
    await store.redis.config_resetstat()
    yield found
    stats = await store.redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
    own = (
        "config",
        "info",
        "client",
        "select",
        "hello",
        "script",
    )  # asked by this test and by new connections
    found.update({name: count for name, count in calls.items() if not name.startswith(own)})


async def beaten(store: Store, count: int, timeout: int = 60_000) -> list[Beat]:
    """A heartbeat of each of `count` monitors that were heard twice before."""
    made = [await monitors.create(store, NewMonitor(name=f"m{i}", timeout=timeout)) for i in range(count)]
    beats = [Beat(scripts.monitor_keys(store, one.id, one.token_hash), "ok") for one, _ in made]
    for _ in range(2):
        await scripts.beat(store.redis, 0, beats)
    return beats


async def test_a_thousand_heartbeats_are_a_few_script_calls(store: Store) -> None:
    """Those that arrive together share calls, and nothing else is asked of Redis."""
    beats = await beaten(store, 50)
    batcher = Batcher(store)
    async with counted(store) as commands:
        await asyncio.gather(*[batcher.submit(beats[i % len(beats)]) for i in range(BEATS)])
        await batcher.drain()
    assert commands.scripts == -(-BEATS // BATCH)


async def test_a_heartbeat_is_few_calls_of_python(store: Store) -> None:
    """From the batcher to the server and back, ours and those of the libraries: what a core is spent on."""
    beats = await beaten(store, 50)
    batcher = Batcher(store)
    await asyncio.gather(*[batcher.submit(one) for one in beats])  # connections are open, the script is there
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    futures = [batcher.submit(beats[i % len(beats)]) for i in range(BEATS)]
    sys.setprofile(count)
    try:
        await asyncio.gather(*futures)
    finally:
        sys.setprofile(None)
    await batcher.drain()
    assert calls <= CALLS_OF_PYTHON * BEATS, calls / BEATS


async def test_a_heartbeat_of_a_monitor_that_is_well_is_four_commands(store: Store) -> None:
    """Read, note when, move the hint, keep the heartbeat; the clock is read and deadlines are moved once for all."""
    beats = await beaten(store, 100)
    async with counted(store) as commands:
        await scripts.beat(store.redis, 0, beats)
    assert commands == {
        "evalsha": 1,
        "time": 1,
        "hmget": 100,
        "hset": 100,
        "pexpire": 100,
        "lpush": 100,
        "zadd": 1,
    }


async def test_idle_watching_is_one_short_call(store: Store) -> None:
    """A look at the ledger does not grow with the monitors in it."""
    await beaten(store, 200)
    await scripts.stamp(store.redis, 0, None)
    async with counted(store) as commands:
        for _ in range(10):
            await sweep.step(store, 0, 0.1)
    assert commands.scripts == 10
    assert commands.total <= 10 * 5


async def test_a_death_is_three_commands_and_many_are_one_call(store: Store) -> None:
    """A storm of deaths is declared many to a call, however many monitors there are beside it."""
    beats = await beaten(store, 512, timeout=1)
    ids = [beat.monitor.monitor_id for beat in beats]
    await asyncio.sleep(0.01)
    await scripts.stamp(store.redis, 0, None)
    await store.redis.zadd(keys.deadlines(0), dict.fromkeys(ids, 1))
    async with counted(store) as commands:
        assert await transitions.declare(store, 0, ids) == len(ids)
    assert commands.scripts == -(-len(ids) // transitions.BATCH)
    assert commands["hmget"] == commands["xadd"] == commands["hset"] == len(ids)
    assert commands.total <= 3.5 * len(ids)


async def test_healthy_cron_monitors_hold_up_no_death(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Due together they are re-armed a batch to a call, after whoever died behind them was declared dead."""
    crons = [await watching.beaten(store, schedule="0 0 1 1 *") for _ in range(200)]
    silent = await watching.beaten(store, timeout=1)
    await store.redis.zadd(keys.deadlines(0), dict.fromkeys([*crons, silent], 1))
    await scripts.stamp(store.redis, 0, None)
    run, calls, dead_before = scripts.run, [], []

    async def noted(
        redis: RedisClient, name: str, key_names: Sequence[str], arguments: Iterable[scripts.RunArgument]
    ) -> Any:
        if name == "rearm":
            dead_before.append(await watching.deaths(store))
        calls.append(name)
        return await run(redis, name, key_names, arguments)

    monkeypatch.setattr(scripts, "run", noted)
    assert await transitions.declare(store, 0, [*crons, silent]) == 1
    batches = -(-len(crons) // transitions.BATCH)
    assert dead_before == [[silent]] * batches
    assert calls.count("rearm") == batches
    now = await watching.now_ms(store)
    assert min(await store.redis.zmscore(keys.deadlines(0), crons)) > now


class AtOnce:
    """Answers without sending."""

    async def send(self, deliveries: Sequence[Delivery]) -> Outcome:
        assert len(deliveries) == 1
        return Outcome(200, "ok")


async def nothing_pending(store: Store) -> bool:
    return not await store.redis.zcard(keys.of_target(0, "pending", TARGET))


@pytest.mark.parametrize("count", [100, 1_000])
async def test_a_delivery_costs_the_same_in_a_long_queue(store: Store, count: int) -> None:
    """Creating, claiming, sending and recording: commands per delivery, whatever the backlog."""
    pump = Pump(store, "costs", AtOnce())
    await renew(store, "costs")
    async with counted(store) as commands:
        await create(store, [NewDelivery(TARGET, f"e{i}", "t", "{}", 0) for i in range(count)])
        pump.wake([TARGET])
        await wait_until(lambda: nothing_pending(store), "the last delivery")
    await pump.stop(1)
    assert commands.total - commands["zcard"] <= 26 * count
    assert commands.scripts <= count / 5


async def test_listing_the_status_of_all_is_a_call_per_page(store: Store) -> None:
    """500 monitors are read in one call; the list of ids comes in steps of 1,000."""
    beats = await beaten(store, 600)
    async with counted(store) as commands:
        ids = await monitors.all_ids(store)
        await monitors.fields(store, ids, ("status", "name", "seen"))
    assert len(ids) == len(beats)
    assert commands.scripts == 2
    assert commands["hmget"] == len(ids)
