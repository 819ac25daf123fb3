"""In place of what tells a worker that something is due, so that a test sees what happens without it."""

import asyncio


async def lost(*_: object) -> None:
    """A hint that nobody hears."""


async def never(*_: object) -> None:
    """A loop that finds nothing."""
    await asyncio.Event().wait()
