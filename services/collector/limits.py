"""Counts unknown tokens per address, so that guessing is slow; known tokens are never limited."""

import time
from collections import OrderedDict
from collections.abc import Callable

ALLOWED = 20
"""Unknown tokens an address may send in a window: a typo in a script that retries, not a search."""
WINDOW = 60.0
ADDRESSES = 10_000
"""Addresses remembered; the longest unseen is forgotten first, so that memory is bounded."""


class UnknownTokens:
    """The count of unknown tokens per address in windows of a minute, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def over(self, address: str) -> bool:
        """Counts one more unknown token from `address`; True when it has sent too many."""
        now = self._clock()
        started, count = self._seen.pop(address, (now, 0))
        if now - started >= WINDOW:
            started, count = now, 0
        self._seen[address] = (started, count + 1)
        if len(self._seen) > ADDRESSES:
            self._seen.popitem(last=False)
        return count >= ALLOWED
