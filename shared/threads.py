"""Blocking calls that may never return, kept away from the loop's own small pool of threads."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(call: Callable[[], Result], name: str) -> Result:
    """What `call` returns or raises, from a daemon thread of its own.

    The default pool has six threads on two cores, so six calls that hang would stop everybody, and the
    interpreter waits for a pool's threads when it ends. When the awaiting task is cancelled the thread goes
    on unheard.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Result] = loop.create_future()

    def settle(deliver: Callable[[], None]) -> None:
        if not answer.done():
            deliver()

    def run() -> None:
        deliver: Callable[[], None]
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            failure = error

            def deliver() -> None:
                answer.set_exception(failure)
        else:

            def deliver() -> None:
                answer.set_result(result)

        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, deliver)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await answer
