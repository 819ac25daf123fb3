"""The live clients of one process, and the one reader that tells all of them what happens.

    stream ──XREAD──▶ tail ──one text per event──▶ filter groups ──▶ clients' buffers ──▶ their connections

While nobody listens nothing is read. A client joins at the very position up to which the hub has told the others.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog
from starlette.types import Message

from services.webhooks import event_log
from services.webhooks.cursor import Position, Vector, id_of, moved, parse_id
from services.webhooks.live_client import REVOKED, STOPPING, Client, Patterns, wanted
from services.webhooks.live_messages import event_text, gap
from shared import keys, metrics
from shared.connection import Store, is_away
from shared.events import Event, parse

BATCH: Final = 100
BLOCK_MS: Final = 2_000
"""Below the client's socket timeout."""
SENDS_PER_TURN: Final = 500
"""Messages handed out before other tasks have their turn: some 10 ms of a core."""
RECHECK_EVERY: Final = 2.0
"""Seconds between looks whether tokens still are valid; a revoked one's clients are promised to go within 5."""
LONGEST_PAUSE: Final = 2.0

log = structlog.get_logger(__name__)


class Hub:
    """Every live client of this process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clients: set[Client] = set()
        self._groups: dict[Patterns, set[Client]] = {}
        self._places: list[Position | None] = [None] * store.shards
        self._listeners = 0
        self._wanted = asyncio.Event()
        self._located = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reads the stream and re-checks tokens while the body runs; then ends every client."""
        tasks = [asyncio.create_task(self._tail(shard)) for shard in range(self.store.shards)]
        tasks.append(asyncio.create_task(self._recheck()))
        try:
            yield
        finally:
            for client in list(self.clients):
                client.end(STOPPING)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def listening(self, client: Client) -> AsyncIterator[None]:
        """Counts a client as connected, so that the stream is read; its messages begin when it joins."""
        self.clients.add(client)
        self._listeners += 1
        self._wanted.set()
        metrics.LIVE_CLIENTS.inc()
        try:
            yield
        finally:
            self._listeners -= 1
            metrics.LIVE_CLIENTS.dec()
            self.clients.discard(client)
            group = self._groups.get(client.patterns)
            if group is not None:
                group.discard(client)
                if not group:
                    del self._groups[client.patterns]

    def join(self, client: Client) -> None:
        """From the present position on the client gets every message it wants."""
        self._groups.setdefault(client.patterns, set()).add(client)

    @property
    def position(self) -> Vector:
        """Up to where those who have joined were told everything; call it once `located` has returned."""
        return tuple(place for place in self._places if place is not None)

    async def located(self) -> None:
        """Waits until the position is known; for as long as Redis is away when the first client comes."""
        await self._located.wait()

    async def _tail(self, shard: int) -> None:
        """One shard, for ever: reads what is new while somebody listens, and hands it out."""
        pause = 0.0
        while True:
            try:
                if not self._listeners:
                    self._places[shard] = None
                    self._located.clear()
                    self._wanted.clear()
                    await self._wanted.wait()
                await self._read(shard)
                pause = 0.0
            except Exception as error:
                metrics.count_redis_error(error)
                if not is_away(error):
                    log.exception("live.tail_failed", shard=shard)
                elif not pause:
                    log.warning("live.waiting", shard=shard, error=repr(error))
                pause = min(LONGEST_PAUSE, pause * 2 or 0.1)
                await asyncio.sleep(pause)

    async def _read(self, shard: int) -> None:
        place = self._places[shard]
        if place is None:
            place = (await event_log.ends(self.store))[shard]
            self._places[shard] = place
        if not self._located.is_set() and None not in self._places:
            self._located.set()
        key = keys.events(shard)
        answer = await self.store.redis.xread({key: id_of(place)}, count=BATCH, block=BLOCK_MS)
        if answer:
            await self._hand_out(shard, answer[0][1])

    async def _hand_out(self, shard: int, entries: Sequence[tuple[str, dict[str, str]]]) -> None:
        """Tells every group what it wants of these entries.

        The position moves first and the members are taken down at once: who joins while the messages are handed out
        has read these events from the stream.
        """
        position = self.position
        told: list[tuple[Event, Vector]] = []
        for entry_id, fields in entries:
            position = moved(position, shard, parse_id(entry_id))
            with contextlib.suppress(KeyError, ValueError):
                event = parse(shard, entry_id, fields)
                if not event.synthetic:
                    told.append((event, position))
        self._places[shard] = position[shard]
        groups = [(patterns, list(members)) for patterns, members in self._groups.items()]
        texts: dict[str, Message] = {}
        for patterns, members in groups:
            messages = []
            for event, place in told:
                if wanted(patterns, event.type):
                    message = texts.get(event.cursor)
                    if message is None:
                        message = texts[event.cursor] = _message(event_text(event, place))
                    messages.append(message)
            if messages:
                await _give(members, messages)

    async def _recheck(self) -> None:
        """Ends the clients of tokens that were revoked."""
        while True:
            await asyncio.sleep(RECHECK_EVERY)
            guests = {client.guest.name: client.guest for client in self.clients}
            try:
                gone = {name for name, guest in guests.items() if not await guest.valid()}
            except Exception as error:  # noqa: BLE001 - nobody is thrown out because Redis is away
                metrics.count_redis_error(error)
                continue
            for client in list(self.clients):
                if client.guest.name in gone:
                    client.end(REVOKED)

    async def catch_up(self, client: Client, position: Vector) -> None:
        """Sends what happened after `position`, then joins the client without a gap or a repetition.

        1. Each shard is read up to where the hub stands, and sent straight to the client: its own pace is kept.
        2. When the stream begins after what was asked for, a `gap` message says so.
        3. As soon as the client stands where the hub stands it joins, with nothing awaited in between.
        """
        ends = await event_log.ends(self.store)
        position = tuple(min(pair) for pair in zip(position, ends, strict=True))
        while True:
            aim = self.position
            behind = [shard for shard, place in enumerate(position) if place < aim[shard]]
            if not behind and position == aim:
                self.join(client)
                return
            if not behind:  # the hub has yet to read what this client saw elsewhere
                await asyncio.sleep(0.01)
            for shard in behind:
                position = await self._replay(client, position, shard, aim[shard])

    async def _replay(self, client: Client, position: Vector, shard: int, aim: Position) -> Vector:
        """Sends one page of a shard; returns the position after it."""
        start = position[shard]
        events, following = await event_log.read(self.store, shard, start, up_to=aim)
        # Asked after reading: what was trimmed in between is told of as well.
        begins, _ = await event_log.bounds(self.store, shard)
        if begins > start:
            kept = moved(position, shard, begins)
            await client.send(_message(gap(position, kept)))
            position = kept
        for event in events:
            position = moved(position, shard, parse_id(event.cursor))
            if wanted(client.patterns, event.type):
                await client.send(_message(event_text(event, position)))
                metrics.LIVE_MESSAGES.inc()
        return moved(position, shard, aim if following == start else following)


def _message(text: str) -> Message:
    return {"type": "websocket.send", "text": text}


async def _give(members: Sequence[Client], messages: Sequence[Message]) -> None:
    """Puts the messages into every member's buffer, letting their writers and everybody else run in between."""
    size = sum(len(message["text"]) for message in messages)
    step = max(1, SENDS_PER_TURN // len(messages))
    for start in range(0, len(members), step):
        for client in members[start : start + step]:
            client.put(messages, size)
        await asyncio.sleep(0)
    metrics.LIVE_MESSAGES.inc(len(members) * len(messages))
