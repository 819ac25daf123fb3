"""Channels in Redis: one JSON record each in one hash, with a version that grows at every change.

Readers that ask often (routing asks per event) keep a `Channels`, which reads the hash again only when the
version grew. Secrets stay sealed here; `shared.channels.config_of` opens them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shared import keys, scripts
from shared.channels import Channel, dumps, loads
from shared.connection import Store
from shared.errors import NotFound
from shared.gathering import Gatherer

KIND = "channels"
ASKING_AT_ONCE = 10_000
"""More tasks than ever ask at once: one answer is enough for all."""


async def add(store: Store, make: Callable[[int, int], Channel]) -> Channel:
    """Stores what `make(id, now in ms)` returns; ids grow and are never given out twice."""
    channel = make(int(await store.redis.incr(keys.ids(KIND))), await _now(store))
    await _write(store, channel.id, "", dumps(channel))
    return channel


async def get(store: Store, channel_id: int) -> Channel:
    """One channel; NotFound when there is none of this id."""
    return loads(channel_id, await _read(store, channel_id))


async def replace(store: Store, channel_id: int, change: Callable[[Channel, int], Channel]) -> Channel:
    """Stores what `change(channel, now in ms)` returns; NotFound when there is none.

    `change` runs again, on the newer record, when another writer came first: no change is lost.
    """
    while True:
        text = await _read(store, channel_id)
        changed = change(loads(channel_id, text), await _now(store))
        if await _write(store, channel_id, text, dumps(changed)):
            return changed


async def remove(store: Store, channel_id: int) -> Channel:
    """Removes a channel and returns what it was; NotFound when there is none. Its ledger is not touched."""
    text = await _read(store, channel_id)
    while not await _write(store, channel_id, text, ""):
        try:
            text = await _read(store, channel_id)
        except NotFound:  # removed already, by this very call when its answer was lost
            break
    return loads(channel_id, text)


async def load(store: Store) -> dict[int, Channel]:
    """Every channel by its id, oldest first."""
    records: dict[str, str] = await store.redis.hgetall(keys.CHANNELS)  # type: ignore[misc]
    return {int(number): loads(number, records[number]) for number in sorted(records, key=int)}


async def missing(store: Store, ids: set[int]) -> set[int]:
    """Those of `ids` that are no channel."""
    if not ids:
        return set()
    ordered = sorted(ids)
    found: list[str | None] = await store.redis.hmget(keys.CHANNELS, [str(one) for one in ordered])  # type: ignore[misc]
    return {one for one, record in zip(ordered, found, strict=True) if record is None}


@dataclass
class Channels:
    """Every channel in the memory of one process, never stale: the version is asked for each time.

    Those who ask at the same time share one answer, or a storm's first thousand messages would read all channels a
    thousand times.
    """

    store: Store
    version: str | None = None
    by_id: Mapping[int, Channel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._asking: Gatherer[None, Mapping[int, Channel]] = Gatherer(self._answer, ASKING_AT_ONCE)

    async def current(self) -> Mapping[int, Channel]:
        """The channels as they are now: one `GET`, and one read of all when something changed."""
        return await self._asking.ask(None)

    async def _answer(self, asking: Sequence[None]) -> Sequence[Mapping[int, Channel]]:
        version = await self.store.redis.get(keys.version(KIND)) or "0"
        if version != self.version:
            # Read after the version: a change in between is read now and, once more, the next time.
            self.by_id = await load(self.store)
            self.version = version
        return [self.by_id] * len(asking)


async def _read(store: Store, channel_id: int) -> str:
    text: str | None = await store.redis.hget(keys.CHANNELS, str(channel_id))  # type: ignore[misc]
    if text is None:
        raise NotFound(f"there is no channel {channel_id}")
    return text


async def _write(store: Store, channel_id: int, before: str, after: str) -> bool:
    key_names = [keys.CHANNELS, keys.version(KIND)]
    return bool(await scripts.run(store.redis, "replace_record", key_names, [str(channel_id), before, after]))


async def _now(store: Store) -> int:
    seconds, micros = await store.redis.time()
    return int(seconds) * 1000 + int(micros) // 1000
