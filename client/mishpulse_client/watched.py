"""`heartbeat`: a function or block whose beginning, end and failure are told to its monitor."""

from __future__ import annotations

import functools
import inspect
import time
from typing import TYPE_CHECKING, Any, Callable, TypeVar, cast, overload

from .beats import Beat, Pulse, new_rid
from .failures import describe

if TYPE_CHECKING:
    from types import TracebackType

F = TypeVar("F", bound=Callable[..., Any])


class Heartbeat:
    """Decorator, context manager and asynchronous context manager in one; each run has its own rid."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._runs: list[_Run] = []  # the innermost `with` block last

    def __call__(self, function: F) -> F:
        """The function with a start before it and an end or error after it.

        Coroutine functions and generators are watched while they run; of an asynchronous generator only the making.
        """
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def watched_coroutine(*args: Any, **kwargs: Any) -> Any:
                async with Heartbeat(self._pulse):
                    return await function(*args, **kwargs)

            return cast("F", watched_coroutine)

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def watched_generator(*args: Any, **kwargs: Any) -> Any:
                with Heartbeat(self._pulse):
                    return (yield from function(*args, **kwargs))

            return cast("F", watched_generator)

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with Heartbeat(self._pulse):
                return function(*args, **kwargs)

        return cast("F", watched)

    def __enter__(self) -> Heartbeat:
        """Send the start."""
        run = self._begin()
        self._pulse.send(run.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send the end, or the error; the exception goes on its way."""
        self._pulse.send(self._runs.pop().end(error))

    async def __aenter__(self) -> Heartbeat:
        """Send the start."""
        run = self._begin()
        await self._pulse.send_async(run.start())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send the end, or the error; the exception goes on its way."""
        await self._pulse.send_async(self._runs.pop().end(error))

    def _begin(self) -> _Run:
        run = _Run()
        self._runs.append(run)
        return run


class _Run:
    """One pass through the watched code."""

    def __init__(self) -> None:
        self._rid = new_rid()
        self._began = time.monotonic()

    def start(self) -> Beat:
        return Beat(action="start", rid=self._rid)

    def end(self, error: BaseException | None) -> Beat:
        """Leaving by `sys.exit(0)` or closing a generator is no error.

        An error's message holds no duration: the same error with a new message would be told anew.
        """
        if error is None or isinstance(error, GeneratorExit) or _is_clean_exit(error):
            return Beat(message=f"took {time.monotonic() - self._began:.3f} s", rid=self._rid)
        return Beat("error", describe(error), rid=self._rid)


def _is_clean_exit(error: BaseException) -> bool:
    return isinstance(error, SystemExit) and error.code in (None, 0)


@overload
def heartbeat(url: F) -> F: ...


@overload
def heartbeat(
    url: str | Pulse | None = None, token: str | None = None, *, timeout: float | None = None
) -> Heartbeat: ...


def heartbeat(
    url: F | str | Pulse | None = None, token: str | None = None, *, timeout: float | None = None
) -> F | Heartbeat:
    """Watch a function, as a decorator, or a block, as a context manager (`with` and `async with`).

    Sends a start, then ok with the duration, or error with the exception's text; the exception is raised on.
    Takes a Pulse instead of URL and token; bare `@heartbeat` takes both from the environment.
    """
    if isinstance(url, Pulse):
        return Heartbeat(url)
    if callable(url):
        return Heartbeat(Pulse())(url)
    return Heartbeat(Pulse(url, token, timeout=timeout))
