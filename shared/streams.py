"""Reading the event stream through consumer groups.

Each event is handled at least once by each group. An entry is acknowledged when its handler has returned; what a
consumer did not acknowledge, because it died or its handler failed, is taken over after 10 s. An entry that failed 5
deliveries is poison: it goes to the `poison` stream, loudly, and the group goes on.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.exceptions import RedisError

from shared import keys, metrics, scripts, stream_upkeep
from shared.connection import UNAVAILABLE, Store, is_away
from shared.events import Event, parse

BATCH: Final = 64
"""Entries read, handled and acknowledged at a time: a tenth of a millisecond of the server's time for each call, and a
burst of work here that heartbeats can wait out."""
BLOCK_MS: Final = 2_000
"""Below the client's socket timeout."""
TAKE_OVER_MS: Final = 10_000
"""Idle time after which an unacknowledged entry is another consumer's to handle."""
TAKE_OVER_EVERY: Final = 1.5
"""Seconds, and a blocking read more: what a dead consumer had read is handled 13 s later at the latest. Looking every
5 s, it took up to 17 s, and 15 s are promised."""
MEASURE_EVERY: Final = 3
"""Looks at what others left per look at how much there is."""
UPKEEP_EVERY: Final = 60.0
POISON_AFTER: Final = 5
SUSPECT_AFTER: Final = 3
"""Entries delivered this often are handled one by one: one of them may have killed its consumers."""
POISON_KEPT: Final = 10_000
LONGEST_PAUSE: Final = 2.0
DEATH: Final = "monitor.dead\0"
"""How the record of a death begins."""
CROWD: Final = 0.25
"""Deaths that are so much of a batch may be a storm's beginning: the watchdog declares forty in one call."""
STORM: Final = 512
"""Monitors past their deadline from which on a consumer that read a crowd of deaths makes way: some 25 ms of the
server's time, so that what is no storm waits for nothing."""
LOOK_AGAIN: Final = 0.1
"""Seconds between two looks at a storm: thousands of deaths, so that one that gets on shows it."""
LOOKS: Final = 50
"""So it makes way for 5 s of a storm."""

Handler = Callable[[Sequence[Event]], Awaitable[None]]
Entry = tuple[str, Mapping[str, str]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reader:
    """One consumer of one group on one shard, with what handles its events."""

    store: Store
    shard: int
    group: str
    consumer: str
    handler: Handler
    batch: int = BATCH
    take_over_ms: int = TAKE_OVER_MS
    take_over_every: float = TAKE_OVER_EVERY


async def consume(
    store: Store,
    group: str,
    consumer: str,
    handler: Handler,
    *,
    batch: int = BATCH,
    take_over_ms: int = TAKE_OVER_MS,
    take_over_every: float = TAKE_OVER_EVERY,
) -> None:
    """Feeds every event of every shard to `handler`, in order per shard, until cancelled.

    `handler` gets a list of events and must bear seeing one twice. When it raises, the entries are tried one by one;
    one that keeps failing ends as poison. Redis's absence, here or in the handler, is waited out. `consumer` must be
    unique among living processes.
    """
    readers = [
        Reader(store, shard, group, consumer, handler, batch, take_over_ms, take_over_every)
        for shard in range(store.shards)
    ]
    async with asyncio.TaskGroup() as tasks:
        for reader in readers:
            tasks.create_task(_run(reader), name=f"consume {group} {reader.shard}")
            tasks.create_task(_upkeep(reader), name=f"stream upkeep {group} {reader.shard}")


async def _run(reader: Reader) -> None:
    """One shard, for ever: take over what others left, read what is new, heal."""
    pause = 0.0
    loop = asyncio.get_running_loop()
    take_over_at = 0.0
    patience = LOOKS
    while True:
        try:
            if loop.time() >= take_over_at:
                await _take_over(reader)
                take_over_at = loop.time() + reader.take_over_every
            entries = await _read(reader)
            await _handle(reader, entries)
            if _deaths(entries) >= reader.batch * CROWD:
                at = int(entries[-1][0].partition("-")[0])
                patience = await _make_way(reader, at, patience, until=take_over_at)
            pause = 0.0
        except Exception as error:  # noqa: BLE001 - a consumer never exits
            if str(error).startswith("NOGROUP") and await _heal(reader):
                continue
            pause = await _wait_out(reader, error, pause)


async def _wait_out(reader: Reader, error: BaseException, pause: float) -> float:
    metrics.count_redis_error(error)
    if not is_away(error):
        log.error("stream.failed", group=reader.group, shard=reader.shard, exc_info=error)
    elif not pause:
        log.warning("stream.waiting", group=reader.group, shard=reader.shard, error=repr(error))
    pause = min(LONGEST_PAUSE, pause * 2 or 0.1)
    await asyncio.sleep(pause)
    return pause


async def _heal(reader: Reader) -> bool:
    """Creates the group where it stood: at its stored position, or from the beginning; False when it cannot yet."""
    redis = reader.store.redis
    try:
        position = await redis.get(keys.group(reader.shard, reader.group)) or "0"
        await redis.xgroup_create(keys.events(reader.shard), reader.group, position, mkstream=True)
        tell = log.info if position == "0" else log.warning  # new, or lost after it had read
        tell("stream.group_created", group=reader.group, shard=reader.shard, position=position)
    except (RedisError, *UNAVAILABLE) as error:  # what escaped here would end the consumer for good
        if not str(error).startswith("BUSYGROUP"):
            log.warning("stream.group_not_created", group=reader.group, shard=reader.shard, error=repr(error))
            return False
    return True


async def _read(reader: Reader) -> list[Entry]:
    block = min(BLOCK_MS, round(reader.take_over_every * 1000))
    answer = await reader.store.redis.xreadgroup(
        reader.group, reader.consumer, {keys.events(reader.shard): ">"}, count=reader.batch, block=block
    )
    return answer[0][1] if answer else []


def _deaths(entries: Sequence[Entry]) -> int:
    return sum(fields.get("record", "").startswith(DEATH) for _, fields in entries)


async def _make_way(reader: Reader, at: int, looks: int, *, until: float) -> int:
    """Lets the deaths of a storm that had begun at `at` (ms) be recorded before more is told, while that gets on.

    The server does one thing at a time: what deliveries take from it, the deaths of a hundred thousand come later. The
    first batch was handled before, so the messages that come one by one are under way, and the rest become digests.
    Returns how many of `looks` are left for this storm, all of them when it is over; `until` by the loop's clock.
    """
    loop, left = asyncio.get_running_loop(), math.inf
    while True:
        before, left = left, await reader.store.redis.zcount(keys.deadlines(reader.shard), "-inf", at)
        if left < STORM:
            return LOOKS
        if not looks or left >= before or loop.time() >= until:
            return looks
        looks -= 1
        await asyncio.sleep(LOOK_AGAIN)


async def _take_over(reader: Reader) -> None:
    """Handles what was read 10 s ago and never acknowledged, by whomever, to the end of the list."""
    key, start = keys.events(reader.shard), "-"
    while rows := await reader.store.redis.xpending_range(
        key, reader.group, min=start, max="+", count=reader.batch, idle=reader.take_over_ms
    ):
        await _handle_again(reader, {row["message_id"]: row["times_delivered"] for row in rows})
        start = f"({rows[-1]['message_id']}"


async def _handle_again(reader: Reader, delivered: Mapping[str, int]) -> None:
    """Entries by how often they were delivered before: the often delivered alone, the hopeless not at all.

    A delivery counts from the claim, which comes right before an entry is handled: what only stands behind a guilty
    one in the list is not blamed when its consumer dies.
    """
    await _handle(
        reader, await _claim(reader, [one for one, n in delivered.items() if n + 1 < SUSPECT_AFTER])
    )
    for suspect, count in delivered.items():
        if count + 1 < SUSPECT_AFTER:
            continue
        for entry in await _claim(reader, [suspect]):
            if count >= POISON_AFTER:
                await _poison(reader, entry, "its consumers never came back")
            else:
                await _handle_alone(reader, entry)


async def _claim(reader: Reader, ids: Sequence[str]) -> list[Entry]:
    """Makes entries this consumer's that are still idle: of racing consumers one gets each."""
    if not ids:
        return []
    claimed: list[Entry] = await reader.store.redis.xclaim(
        keys.events(reader.shard), reader.group, reader.consumer, reader.take_over_ms, list(ids)
    )
    return claimed


async def _deliveries(reader: Reader, entry_id: str) -> int:
    """How often an entry was delivered."""
    rows = await reader.store.redis.xpending_range(
        keys.events(reader.shard), reader.group, min=entry_id, max=entry_id, count=1
    )
    return int(rows[0]["times_delivered"]) if rows else 0


async def _handle(reader: Reader, entries: Sequence[Entry]) -> None:
    """Hands a batch over; when it fails, each entry alone, so that only the guilty ones stay unacknowledged."""
    if len(entries) < 2:
        for entry in entries:
            await _handle_alone(reader, entry)
        return
    try:
        await reader.handler([parse(reader.shard, *entry) for entry in entries])
    except Exception as error:
        if is_away(error):
            await _forgive(reader, entries)
            raise
        log.exception("stream.batch_failed", group=reader.group, shard=reader.shard, entries=len(entries))
        for entry in entries:
            await _handle_alone(reader, entry)
        return
    await _acknowledge(reader, entries)


async def _handle_alone(reader: Reader, entry: Entry) -> None:
    try:
        await reader.handler([parse(reader.shard, *entry)])
    except Exception as error:
        if is_away(error):
            await _forgive(reader, [entry])
            raise
        log.exception("stream.entry_failed", group=reader.group, shard=reader.shard, entry=entry[0])
        if await _deliveries(reader, entry[0]) >= POISON_AFTER:
            await _poison(reader, entry, repr(error))
        return
    await _acknowledge(reader, [entry])


async def _forgive(reader: Reader, entries: Sequence[Entry]) -> None:
    """Forgets how often entries were delivered: Redis was away or full, they are not to blame."""
    key = keys.events(reader.shard)
    ids: list[Any] = [entry_id for entry_id, _ in entries]
    with contextlib.suppress(*UNAVAILABLE, RedisError):
        await reader.store.redis.xclaim(key, reader.group, reader.consumer, 0, ids, retrycount=0, justid=True)


async def _acknowledge(reader: Reader, entries: Sequence[Entry]) -> None:
    names = [keys.events(reader.shard), keys.group(reader.shard, reader.group)]
    arguments = [reader.group, *[entry_id for entry_id, _ in entries]]
    await scripts.run(reader.store.redis, "stream_ack", names, arguments)
    metrics.EVENTS_READ.labels(reader.group).inc(len(entries))


async def _poison(reader: Reader, entry: Entry, error: str) -> None:
    """Puts an entry aside, where an operator finds it, and lets the group go on."""
    entry_id, fields = entry
    log.error("stream.poison", group=reader.group, shard=reader.shard, entry=entry_id, error=error)
    metrics.POISONED.labels(reader.group).inc()
    aside: dict[Any, Any] = {
        **fields,
        "poison_group": reader.group,
        "poison_entry": entry_id,
        "poison_error": error[:1000],
    }
    pipe = reader.store.redis.pipeline(transaction=True)
    pipe.xadd(keys.poison(reader.shard), aside, maxlen=POISON_KEPT, approximate=True)
    pipe.xack(keys.events(reader.shard), reader.group, entry_id)
    await pipe.execute()


async def _upkeep(reader: Reader) -> None:
    """Measures every few seconds, tidies every minute. Trimming is the watchdog's: it is there when no consumer is."""
    loop = asyncio.get_running_loop()
    tidy_at = loop.time() + UPKEEP_EVERY / 6
    while True:
        await asyncio.sleep(reader.take_over_every * MEASURE_EVERY)
        try:
            await stream_upkeep.measure(reader.store, reader.shard, reader.group)
            if loop.time() >= tidy_at:
                tidy_at = loop.time() + UPKEEP_EVERY
                await stream_upkeep.tidy(reader.store, reader.shard, reader.group)
        except (*UNAVAILABLE, RedisError) as error:
            metrics.count_redis_error(error)
