"""Waiting for what happens soon, without guessing how long it takes."""

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_until(predicate: Callable[[], T | Awaitable[T]], description: str, timeout: float = 5.0) -> T:
    """What `predicate` returns once it is truthy; fails with `description` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {description} (last: {value!r})")
        await asyncio.sleep(0.005)


def wait_for(predicate: Callable[[], T], description: str, timeout: float = 5.0) -> T:
    """The same for tests that are not asynchronous."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {description} (last: {value!r})")
        time.sleep(0.005)


class Turns:
    """How often something else than the test had its turn in the event loop."""

    def __init__(self) -> None:
        self.count = 0

    async def take(self, every: float) -> None:
        """Takes a turn every so many seconds; 0: whenever it may."""
        while True:
            await asyncio.sleep(every)
            self.count += 1


@contextlib.asynccontextmanager
async def turns(every: float = 0) -> AsyncIterator[Turns]:
    """Counts the turns that others have, at most one in `every` seconds, for as long as the block lasts."""
    counted = Turns()
    async with under_way(counted.take(every)):
        yield counted


@contextlib.asynccontextmanager
async def under_way(endless: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Runs what ends only by being cancelled, for as long as the block lasts."""
    task = asyncio.create_task(endless)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
