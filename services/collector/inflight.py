"""What is under way now, so that one can wait for it and not for who comes meanwhile."""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Iterator


class InFlight:
    """Requests that have come and not ended; each is counted for as long as it is held."""

    def __init__(self) -> None:
        self._came = 0
        self._held: OrderedDict[int, None] = OrderedDict()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Counts one for as long as the block takes."""
        self._came += 1
        number = self._came
        self._held[number] = None
        try:
            yield
        finally:
            del self._held[number]
            self._tell()

    def _tell(self) -> None:
        oldest = next(iter(self._held), self._came + 1)
        while self._waiting and self._waiting[0][0] < oldest:
            _, ended = self._waiting.popleft()
            if not ended.done():  # cancelled: whoever waited has gone
                ended.set_result(None)

    async def ended(self) -> None:
        """Waits until everything that is held now has ended; who comes meanwhile is not waited for.

        Any number may wait: each costs the same, however much is held.
        """
        if self._held:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((self._came, ended))
            await ended
