"""Reading the event stream by position: pages, where it begins and ends. One bounded command at a time."""

from collections.abc import AsyncIterator
from typing import Final

from redis.exceptions import ResponseError

from services.webhooks.cursor import START, Position, Vector, id_of, parse_id
from shared import keys
from shared.connection import Store
from shared.events import Event, parse

STEP: Final = 500
"""Entries per read: about a millisecond of Redis' time."""


async def read(
    store: Store, shard: int, after: Position, *, up_to: Position | None = None, count: int = STEP
) -> tuple[list[Event], Position]:
    """At most `count` events of a shard after a position, and the position after them; entries that are no events, or
    the self-ping's, are left out.

    The list is empty and the position unchanged at the end of the stream.
    """
    last = "+" if up_to is None else id_of(up_to)
    entries = await store.redis.xrange(keys.events(shard), f"({id_of(after)}", last, count=count)
    events = []
    for entry_id, fields in entries:
        try:
            event = parse(shard, entry_id, fields)
        except (KeyError, ValueError):
            continue
        if not event.synthetic:
            events.append(event)
    return events, parse_id(entries[-1][0]) if entries else after


async def since(store: Store, shard: int, ms: int, end: Position) -> AsyncIterator[list[Event]]:
    """All events of a shard from a time (ms) up to and with `end`, in steps."""
    position = before(ms)
    while True:
        events, following = await read(store, shard, position, up_to=end)
        if following == position:
            return
        yield events
        position = following


def before(ms: int) -> Position:
    """The position just before everything of this millisecond."""
    return (max(0, ms) - 1, 2**40) if ms > 0 else START


async def ends(store: Store) -> Vector:
    """The position of each shard's newest event, kept or not."""
    return tuple([(await bounds(store, shard))[1] for shard in range(store.shards)])


async def first_kept(store: Store, vector: Vector) -> Vector | None:
    """The nearest positions from which nothing is missing, or None when nothing is missing after `vector`."""
    moved = []
    for shard, position in enumerate(vector):
        reaches, _ = await bounds(store, shard)
        moved.append(max(reaches, position))
    return None if tuple(moved) == vector else tuple(moved)


async def bounds(store: Store, shard: int) -> tuple[Position, Position]:
    """Where a shard's stream begins (everything after it is there) and ends."""
    try:
        info = await store.redis.xinfo_stream(keys.events(shard))
    except ResponseError:  # no such key: nothing was ever emitted
        return START, START
    end = parse_id(info["last-generated-id"])
    if int(info["entries-added"]) == int(info["length"]):
        return START, end
    if not info["first-entry"]:
        return end, end
    first = parse_id(info["first-entry"][0])
    return ((first[0], first[1] - 1) if first[1] else (first[0] - 1, 2**40)), end
