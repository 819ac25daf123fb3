"""Where the time of the last success is kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from . import state

if TYPE_CHECKING:
    from pathlib import Path


class Cache(Protocol):
    """Anything that keeps a value for a while: a Redis client, Django's cache, cachelib, or FileCache.

    A `ttl` method, where there is one, is not needed: the time is in the value.
    """

    def get(self, key: str, /) -> Any:
        """The value, or None."""

    def set(self, key: str, value: str, ttl: int, /) -> Any:
        """Keep the value for `ttl` seconds."""


class FileCache:
    """A cache in one JSON file, shared by the processes of one user."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str, /) -> Any:
        """The value, or None when it is absent or past its time."""
        value, until = state.read(self.path).get(key) or (None, 0)
        return value if until > time.time() else None

    def set(self, key: str, value: str, ttl: int, /) -> None:
        """Keep the value for `ttl` seconds."""
        with state.locked(self.path, wait=True):
            now = time.time()
            kept = {name: entry for name, entry in state.read(self.path).items() if entry[1] > now}
            state.write(self.path, {**kept, key: [value, now + ttl]})

    def ttl(self, key: str) -> int:
        """Seconds for which the value stays, -2 when there is none (Redis' convention)."""
        _, until = state.read(self.path).get(key) or (None, 0)
        left = until - time.time()
        return int(left) if left > 0 else -2
