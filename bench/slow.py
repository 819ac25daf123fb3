"""The longest script call of a time, by Redis' own slow log."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ground import ROOT

from shared import scripts
from shared.connection import Store

FROM_US = 500
"""Calls shorter than this are not even noted."""


@dataclass(frozen=True, slots=True)
class Longest:
    """The longest call of each script that had one above `FROM_US`, in ms."""

    of: dict[str, float]

    @property
    def ms(self) -> float:
        return max(self.of.values(), default=0.0)

    def __str__(self) -> str:
        return ", ".join(f"{name} {ms:.1f} ms" for name, ms in self.of.items()) or f"below {FROM_US} µs"


async def watch(store: Store) -> None:
    """Starts anew."""
    await store.redis.config_set("slowlog-log-slower-than", FROM_US)
    await store.redis.config_set("slowlog-max-len", 10_000)
    await store.redis.slowlog_reset()


async def longest(store: Store) -> Longest:
    """What was longest since `watch`."""
    names = _names()
    found: dict[str, float] = {}
    entries: list[Any] = await store.redis.slowlog_get(10_000)
    for entry in entries:
        words = entry["command"].split(maxsplit=2)
        if bytes(words[0]).upper() == b"EVALSHA":
            name = names.get(words[1].decode(), "another")
            found[name] = max(found.get(name, 0), entry["duration"] / 1000)
    return Longest(dict(sorted(found.items(), key=lambda item: -item[1])))


def _names() -> dict[str, str]:
    folder = Path(ROOT, "shared", "lua")
    return {scripts.source(path.stem)[1]: path.stem for path in folder.glob("*.lua")}
