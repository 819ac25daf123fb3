"""A command that is cancelled stays cancelled, at whatever moment."""

import asyncio
import contextlib

import pytest

from shared.connection import Store


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancel_is_never_swallowed(store: Store, steps: int) -> None:
    """A loop of commands ends when it is cancelled, however far the command under way has come."""
    over = False

    async def ping_for_ever() -> None:
        while not over:
            await store.redis.ping()

    task = asyncio.create_task(ping_for_ever())
    for _ in range(20 + steps):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.2)
    over = True
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert done


@pytest.mark.parametrize("watching", [True, False])
async def test_a_cancelled_pipeline_loses_no_connection(store: Store, *, watching: bool) -> None:
    """Wherever it is cut off, also while it is giving its connection back: the pool has them all again."""
    pool = store.redis.connection_pool

    async def transact() -> None:
        async with store.redis.pipeline(transaction=True) as pipe:
            if watching:
                await pipe.watch("a")
                await pipe.get("a")
                pipe.multi()
            pipe.set("a", "1")
            pipe.get("a")
            await pipe.execute()

    finished = 0
    for steps in range(60):
        task = asyncio.create_task(transact())
        for _ in range(steps):
            await asyncio.sleep(0 if steps % 2 else 0.0001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
            finished += 1
        assert not pool._in_use_connections, f"after {steps} steps"
        assert len(pool._available_connections) == 1
    assert 0 < finished < 60
    assert await store.redis.ping()
