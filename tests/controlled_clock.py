"""A clock that a test turns: the delivery ledger's scripts get its time instead of the server's."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from shared import scripts


class Clock:
    """`now` in ms; every script of the ledger that would read the server's time reads this instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: int = 1_800_000_000_000) -> None:
        self.now = now
        real = scripts.run

        async def run(redis: Any, name: str, key_names: Sequence[str], arguments: Iterable[Any]) -> Any:
            given = list(arguments)
            if name.startswith("delivery_") and given[0] == "":
                given[0] = self.now
            return await real(redis, name, key_names, given)

        monkeypatch.setattr(scripts, "run", run)
