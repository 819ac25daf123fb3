"""The wall between this client and the program: nothing raises through it, nothing waits behind it for long.

The work runs on a daemon thread that is waited for at most the timeout: sockets have deadlines of their own,
but looking up a host name has none. A thread that overstays is left behind; it ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import threading

from .failures import Failed, TimedOut, describe

TYPE_CHECKING = False  # see __init__
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

LOGGER = "mishpulse"
MOST_THREADS = 16  # a resolver that hangs must not fill the program with threads

_slots = threading.BoundedSemaphore(MOST_THREADS)


def within(seconds: float, function: Callable[[], T]) -> T:
    """The function's result; raises what it raised, or TimedOut when it takes longer than that."""
    ended = threading.Event()
    results, errors = _start(function, ended.set)
    if not ended.wait(seconds):
        raise TimedOut
    if errors:
        raise errors[0]
    return results[0]


async def within_async(seconds: float, function: Callable[[], T]) -> T:
    """Like `within`, without holding up the event loop; cancelling it leaves the thread to end by itself."""
    import asyncio

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def done() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(ended.set)

    results, errors = _start(function, done)
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except asyncio.TimeoutError:
        raise TimedOut from None
    if errors:
        raise errors[0]
    return results[0]


def attempt(what: str, seconds: float, function: Callable[[], T]) -> T | None:
    """The function's result, or None with a warning in the log that says why; never raises."""
    try:
        return within(seconds, function)
    except Exception as error:  # noqa: BLE001 - the promise of this module
        warn(what, error)
        return None


async def attempt_async(what: str, seconds: float, function: Callable[[], T]) -> T | None:
    """Like `attempt` for asyncio; only the task's own cancellation passes."""
    try:
        return await within_async(seconds, function)
    except Exception as error:  # noqa: BLE001 - the promise of this module
        warn(what, error)
        return None


def warn(what: str, error: BaseException | str) -> None:
    """Log one warning; a handler that raises is none of the program's business either."""
    try:
        import logging

        reason = error if isinstance(error, (str, Failed)) else describe(error)
        logging.getLogger(LOGGER).warning("%s: %s", what, reason)
    except Exception:  # noqa: BLE001, S110 - see the docstring
        pass


def _start(function: Callable[[], T], done: Callable[[], None]) -> tuple[list[T], list[BaseException]]:
    """Run the function on a thread; one of the lists is filled when `done` is called.

    Raises Failed when too many such threads are waiting already.
    """
    slots = _slots  # the same object is given back, whatever a fork does meanwhile
    if not slots.acquire(blocking=False):
        raise Failed("too many earlier calls are still waiting for the server")
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            errors.append(error)
        finally:
            slots.release()
            done()

    try:
        threading.Thread(target=run, name="mishpulse", daemon=True).start()
    except RuntimeError:  # no thread to be had, or the interpreter is ending: sockets still have deadlines
        run()
    return results, errors


def _after_fork() -> None:
    """The parent's threads do not exist in the child, so neither do their slots."""
    global _slots  # noqa: PLW0603 - one per process
    _slots = threading.BoundedSemaphore(MOST_THREADS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
