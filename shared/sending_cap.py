"""How many messages one process sends at the same time, and how the targets share that.

A cap on all sends together keeps a storm from using up the process's open files. Shared blindly, it would let one
group of hanging destinations delay all others, so:

- a target may have in flight what the ledger's cap allows (and a tenth of all), but less once a quarter of the places
  is taken, by the square of what is free, and one at least: hundreds of backlogs leave room;
- who has none is served before who has some, in the order of asking;
- targets whose last message failed or was slow are *lagging*: together they have half of the places at most, and an
  eighth at least, so that neither they nor the others can take everything.

What is left: as many targets as there are places that all hang for the first time hold up others for the 15 s of a
request, once.
"""

import asyncio
import resource
from collections import deque
from typing import Final

from shared.orders import IN_FLIGHT

MOST: Final = 1_000
"""Sends at once, however many files may be open: some 50 KB of memory each."""
SPARE_FILES: Final = 128
SLOW: Final = 2.0
"""Seconds; a message that takes longer makes its target a lagging one until the next that does not."""

Waiting = deque[tuple[str, asyncio.Future[int]]]


def default_capacity() -> int:
    """A third of the files that this process may open: as many connections are kept, and the rest is for itself."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(IN_FLIGHT, min(MOST, (soft - SPARE_FILES) // 3))


class SendingCap:
    """The places of one process; each target is asked for by one task at a time."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.taken = 0
        self._most = min(IN_FLIGHT, max(1, capacity // 10))
        self._held: dict[str, int] = {}
        self._lagging: set[str] = set()
        self._lagging_taken = 0
        self._good: Waiting = deque()
        self._late: Waiting = deque()
        self._closed = False

    async def take(self, target: str) -> int:
        """Takes places for a target; waits for the first one.

        0 when it has some and gets no more for now: come again when one of its messages has ended. 0 after `close`.
        """
        if self._closed:
            return 0
        queue = self._late if target in self._lagging else self._good
        first_come = not queue and (queue is self._good or not self._good)
        if first_come and (share := self._share(target)):
            return self._take(target, share)
        if self._held.get(target):
            return 0
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        queue.append((target, future))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give_back(target, future.result())
            raise

    def give_back(self, target: str, places: int = 1) -> None:
        """Frees places that a target took, and gives them to whoever waits."""
        left = self._held[target] - places
        if left:
            self._held[target] = left
        else:
            del self._held[target]
        self.taken -= places
        if target in self._lagging:
            self._lagging_taken -= places
        self._serve()

    def judge(self, target: str, *, well: bool, seconds: float) -> None:
        """Learns how a target's message went: while failed or slow ones are its last, it is a lagging one."""
        lagging = not well or seconds > SLOW
        if lagging and target not in self._lagging:
            self._lagging.add(target)
            self._lagging_taken += self._held.get(target, 0)
        elif not lagging and target in self._lagging:
            self._lagging.discard(target)
            self._lagging_taken -= self._held.get(target, 0)

    def close(self) -> None:
        """Nobody waits any more: everyone gets 0."""
        self._closed = True
        for _, future in (*self._good, *self._late):
            if not future.done():
                future.set_result(0)
        self._good.clear()
        self._late.clear()

    def _share(self, target: str) -> int:
        """How many places a target may take now."""
        free = self.capacity - self.taken
        if target in self._lagging:
            free = min(free, max(1, self.capacity // 2) - self._lagging_taken)
        if free <= 0:
            return 0
        part = min(1.0, free / self.capacity * 4 / 3)
        most = min(free, max(1, int(self._most * part**2)))
        return max(0, most - self._held.get(target, 0))

    def _take(self, target: str, places: int) -> int:
        self._held[target] = self._held.get(target, 0) + places
        self.taken += places
        if target in self._lagging:
            self._lagging_taken += places
        return places

    def _serve(self) -> None:
        while self._late and self._lagging_taken < self.capacity // 8 and self._serve_one(self._late):
            pass
        for queue in (self._good, self._late):
            while queue and self._serve_one(queue):
                pass

    def _serve_one(self, queue: Waiting) -> bool:
        """Serves the first of a queue, or drops it when it was cancelled; False when there is no place for it."""
        target, future = queue[0]
        share = 0 if future.done() else self._share(target)
        if not share and not future.done():
            return False
        queue.popleft()
        if share:
            future.set_result(self._take(target, share))
        return True
