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
