"""Named points at which a process kills itself, set from outside: the product knows nothing of them.

`CHAOS_POINT=after:send#3` in the environment of a process started by `chaos.launch` makes it end by SIGKILL the third
time that it passes that point. A point is `before:` or `after:` and one of

| step | what is wrapped |
|---|---|
| `send` | `shared.outbound.Sender.post`: the request to a receiver; after it the answer is known, and not recorded |
| `read` | the stream consumer's XREADGROUP, when it brought something |
| `create` | `shared.deliveries.create`: all script calls that make the deliveries of a batch of events |
| `hint` | `shared.queue.hint`: telling arq |
| a script's name | `shared.scripts.call` of that script |

A script is `beat`, `perish`, `declare`, `emit`, `stamp`, `delivery_create`, `delivery_claim`, `delivery_seal`,
`delivery_record`, `stream_ack` …, so `after:stream_ack` is right after the XACK and `after:delivery_claim` before the
send.
"""

import functools
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final

VARIABLE: Final = "CHAOS_POINT"

POINTS: Final[dict[str, tuple[str, ...]]] = {
    "collector": ("before:beat", "after:beat", "before:emit", "after:emit", "after:stamp"),
    "watchdog": ("before:perish", "after:perish", "before:declare", "after:declare", "after:due"),
    "notifier": (
        *("after:read", "before:delivery_create", "after:delivery_create", "before:stream_ack"),
        *("after:stream_ack", "after:delivery_claim", "before:send", "after:send", "after:delivery_record"),
        *("before:delivery_seal", "after:delivery_seal"),
    ),
    "webhooks-worker": (
        *("after:read", "before:delivery_create", "after:delivery_create", "before:stream_ack"),
        *("after:stream_ack", "after:delivery_claim", "before:send", "after:send", "after:delivery_record"),
    ),
}
"""The points that each service passes under the usual load."""
PASSES: Final = {"before:delivery_seal": 2, "after:delivery_seal": 2}
"""Passages among which one is drawn, where they are rarer than twenty in some seconds: digests come at their time."""

Step = Callable[..., Awaitable[Any]]


class Trap:
    """Counts passages of one point and ends the process at the chosen one."""

    def __init__(self, spelled: str) -> None:
        self.point, _, nth = spelled.partition("#")
        self._left = int(nth or 1)

    def passed(self, point: str) -> None:
        """Called at every point; does not return from the chosen passage of the chosen one."""
        if point != self.point:
            return
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def around(step: Step, name: str, trap: Trap) -> Step:
    """`step` with a point before and after it; an error passes no second point."""

    @functools.wraps(step)
    async def wrapped(*arguments: Any, **options: Any) -> Any:
        trap.passed(f"before:{name}")
        answer = await step(*arguments, **options)
        trap.passed(f"after:{name}")
        return answer

    return wrapped


def install(spelled: str) -> None:
    """Puts the points into this process's functions. Call it before a service is imported."""
    from shared import deliveries, outbound, queue, scripts, streams  # noqa: PLC0415 - only where points are wanted

    trap = Trap(spelled)
    plain = scripts.call

    @functools.wraps(plain)
    async def call(redis: Any, name: str, *arguments: Any, **options: Any) -> Any:
        trap.passed(f"before:{name}")
        answer = await plain(redis, name, *arguments, **options)
        trap.passed(f"after:{name}")
        return answer

    read = streams._read

    @functools.wraps(read)
    async def reading(reader: Any) -> Any:
        entries = await read(reader)
        if entries:
            trap.passed("after:read")
        return entries

    scripts.call = call
    streams._read = reading
    deliveries.create = around(deliveries.create, "create", trap)  # type: ignore[assignment]
    queue.hint = around(queue.hint, "hint", trap)  # type: ignore[assignment]
    outbound.Sender.post = around(outbound.Sender.post, "send", trap)  # type: ignore[method-assign, assignment]
