"""Every monitor at a glance: what the list is searched, filtered, counted and sorted by, and nothing more of each."""

import heapq
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from shared import keys, monitors
from shared.connection import Store
from shared.model import Status

FIELDS = ("status", "tags", "name", "slug", "seen", "since")
WORST: dict[str, int] = {"dead": 0, "error": 1, "warning": 2, "new": 3, "alive": 4, "paused": 5}
SORTS = ("status", "name", "seen", "created")
HELD = 2 * monitors.PAGE
"""The most rows of which the best are kept while more are coming; for more of them all are kept, and sorted once."""


class Row(NamedTuple):
    """A monitor as lists show it; times in ms, `tags` as stored."""

    id: str
    status: Status
    tags: str
    name: str
    slug: str
    seen: int | None
    since: int | None

    @property
    def tag_list(self) -> list[str]:
        """Its tags."""
        return json.loads(self.tags) if self.tags else []


async def pages(store: Store) -> AsyncIterator[list[Row]]:
    """Every monitor, oldest first, page by page, so that others of this process have their turn in between."""
    async for page in monitors.fields_of_all(store, FIELDS):
        yield [_row(monitor_id, values) for monitor_id, values in page.items()]


def _row(monitor_id: str, values: Sequence[str]) -> Row:
    status, tags, name, slug, seen, since = values
    return Row(
        monitor_id,
        status,  # type: ignore[arg-type]
        tags,
        name or monitor_id,
        slug,
        int(seen) if seen else None,
        int(since) if since else None,
    )


def tags(stored: Iterable[str]) -> list[str]:
    """Every tag of what monitors have stored as theirs, by the alphabet."""
    return sorted({tag for text in stored if text for tag in json.loads(text)}, key=str.casefold)


def matching(rows: Sequence[Row], *, q: str = "", tag: str = "", status: str = "") -> list[Row]:
    """The rows of a search; `q` is looked for in names, slugs and ids, whatever its case."""
    wanted = q.casefold()
    return [
        row
        for row in rows
        if (not status or row.status == status)
        and (not tag or tag in row.tag_list)
        and (not wanted or any(wanted in text.casefold() for text in (row.name, row.slug, row.id)))
    ]


ORDERS: dict[str, Callable[[Row], Any]] = {
    "status": lambda row: (WORST[row.status], row.name.casefold()),
    "name": lambda row: row.name.casefold(),
    "seen": lambda row: -(row.seen or 0),
    "created": lambda row: row.id,
}


def first(rows: Sequence[Row], sort: str, count: int) -> list[Row]:
    """The first `count` in an order of `SORTS`: the worst first, by name, the last heard first, the newest first.

    Of 100,000 rows the first 50 take 18 ms, where sorting all took 114, half of it for collecting the keys' garbage.
    """
    newest = sort == "created"
    if count * 8 > len(rows):
        return sorted(rows, key=ORDERS[sort], reverse=newest)[:count]
    return (heapq.nlargest if newest else heapq.nsmallest)(count, rows, key=ORDERS[sort])


class Best:
    """The first `count` rows in an order of `SORTS`, of rows that come page by page.

    `seen` counts all that came. Of those it holds `HELD` and what came since; all of them when more are wanted.
    """

    def __init__(self, sort: str, count: int) -> None:
        self._sort = sort
        self._count = count
        self._held: list[Row] = []
        self.seen = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Takes the next page."""
        self.seen += len(rows)
        self._held += rows
        if self._count <= HELD and len(self._held) >= 2 * HELD:
            self._held = self.rows()

    def rows(self) -> list[Row]:
        """The first of all that came."""
        return first(self._held, self._sort, self._count)


async def recent_beats(store: Store, ids: Sequence[str], count: int) -> dict[str, list[tuple[int, str]]]:
    """The newest heartbeats of each monitor as (ms, kind), oldest first; one round trip."""
    pipe = store.redis.pipeline(transaction=False)
    for one in ids:
        pipe.lrange(keys.beats(store.shard_of(one), one), 0, count - 1)
    lists = await pipe.execute()
    return {
        one: [(int(words[0]), words[1]) for words in (entry.split(" ", 2) for entry in reversed(entries))]
        for one, entries in zip(ids, lists, strict=True)
    }
