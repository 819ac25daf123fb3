"""One live client: what waits to be sent to it, bounded, and how its connection ends."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.types import Message, Send

from services.webhooks.guests import Guest
from shared.patterns import matches

MAX_WAITING: Final = 4_096
"""Messages that may wait for one client: some seconds of a storm."""
MAX_WAITING_SIZE: Final = 8 * 2**20
"""Characters that may wait for one client."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why we end a connection: the WebSocket's close code, a sentence, and the metric's label."""

    code: int
    reason: str
    label: str


SLOW: Final = Ending(1013, "too slow to keep up: resume with last_event_id", "slow")
REVOKED: Final = Ending(1008, "the token was revoked", "unauthorized")
STOPPING: Final = Ending(1012, "restarting: resume with last_event_id", "stopping")

Patterns = tuple[str, ...]


def wanted(patterns: Patterns, event_type: str) -> bool:
    """Whether a filter lets a type through; an empty one lets everything."""
    return not patterns or any(matches(pattern, event_type) for pattern in patterns)


class Client:
    """A connected client. Messages are put by the hub and written by the client's own task."""

    __slots__ = ("_size", "_waiting", "_wake", "ended", "guest", "patterns", "send")

    def __init__(self, send: Send, guest: Guest, patterns: Patterns) -> None:
        self.send = send
        self.guest = guest
        self.patterns = patterns
        self.ended: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()
        """Set once: why we end it, or None when the client left."""
        self._waiting: deque[Message] = deque()
        self._size = 0
        self._wake = asyncio.Event()

    def put(self, messages: Sequence[Message], size: int) -> None:
        """Queues messages of `size` characters in all; a client that has too many waiting is ended."""
        if self.ended.done():
            return
        self._size += size
        if len(self._waiting) + len(messages) > MAX_WAITING or self._size > MAX_WAITING_SIZE:
            self._waiting.clear()
            self.end(SLOW)
            return
        self._waiting.extend(messages)
        self._wake.set()

    def end(self, ending: Ending | None) -> None:
        """Ends it, if nothing has ended it before."""
        if not self.ended.done():
            self.ended.set_result(ending)

    async def write(self) -> None:
        """Sends what is queued, for ever. Blocks while the client's connection takes nothing more."""
        send, waiting, wake = self.send, self._waiting, self._wake
        while True:
            while waiting:
                await send(waiting.popleft())
            self._size = 0
            wake.clear()
            await wake.wait()
