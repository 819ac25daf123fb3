"""Finding monitors among many: only what the filters look at is read of all, and the rest of one page."""

from dataclasses import dataclass
from json import loads

from shared import monitors
from shared.connection import Store
from shared.model import Monitor, Status


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which monitors a client asked for; `q` is looked for in names, slugs and ids, whatever its case."""

    tag: str | None = None
    status: Status | None = None
    q: str | None = None

    @property
    def all(self) -> bool:
        """Whether every monitor is wanted."""
        return not (self.tag or self.status or self.q)

    def includes(self, monitor_id: str, status: str, tags: str, name: str, slug: str) -> bool:
        """Whether a monitor with these stored fields is wanted."""
        if self.status and status != self.status:
            return False
        if self.tag and (self.tag not in tags_of(tags)):
            return False
        return not self.q or any(self.q.casefold() in text.casefold() for text in (name, slug, monitor_id))


def tags_of(stored: str) -> list[str]:
    """The tags of a stored monitor."""
    return loads(stored) if stored else []


async def find(store: Store, wanted: Wanted, limit: int, offset: int) -> tuple[list[Monitor], int]:
    """One page of the monitors that are wanted, oldest first, and how many there are in all."""
    if wanted.all:
        ids = await monitors.all_ids(store)
    else:
        found = monitors.fields_of_all(store, ("status", "tags", "name", "slug"))
        ids = [one async for page in found for one, fields in page.items() if wanted.includes(one, *fields)]
    return await monitors.get_many(store, ids[offset : offset + limit]), len(ids)
