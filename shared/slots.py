"""Which node of a Redis Cluster holds what: the slot of a command, and the map of the slots."""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared import keys
from shared.addresses import Place
from shared.pools import Pool, Prompt

ASK_WITHIN: Final = 1.0
"""Seconds a node has to tell the map."""

WITHOUT_KEY: Final = frozenset({"TIME", "INFO", "CONFIG GET", "ROLE"})
"""Commands about a server: the node of the small control data answers them."""
EVERYWHERE: Final = frozenset({"PING", "CONFIG SET", "FLUSHALL", "FLUSHDB", "SCRIPT FLUSH"})
"""Commands that every primary is given; the first one's answer stands for all."""
REFUSED: Final = frozenset(
    {"SCAN", "KEYS", "DBSIZE", "RANDOMKEY", "WATCH", "SUBSCRIBE", "PSUBSCRIBE", "PUBLISH"}
)
"""Commands that would silently see one node only, or that no code here needs on a cluster."""

Node = Redis
"""A client of one node."""

log = structlog.get_logger(__name__)


@lru_cache(maxsize=4096)
def _slot_of_tag(tag: str) -> int:
    return key_slot(tag.encode())


def slot_of_key(key: str) -> int:
    """The slot of a key; only its tag in braces counts."""
    start = key.find("{")
    end = key.find("}", start + 1) if start >= 0 else -1
    if end > start + 1:
        return _slot_of_tag(key[start + 1 : end])
    return key_slot(key.encode())


CONTROL_SLOT: Final = slot_of_key(keys.SCHEMA)


def slot_of(command: Sequence[Any]) -> int:
    """The slot of the first key of a command; raises RedisError on one that no single node can answer."""
    name = str(command[0])
    if name in WITHOUT_KEY:
        return CONTROL_SLOT
    if name in REFUSED or len(command) < 2:
        raise RedisError(f"{name} is not for a whole cluster: ask each of its `primaries`")
    if name in ("EVALSHA", "EVAL"):
        key = command[3]
    elif name in ("XREAD", "XREADGROUP"):
        key = command[next(i for i, word in enumerate(command) if word in (b"STREAMS", "STREAMS")) + 1]
    else:
        key = command[1]
    return slot_of_key(key if isinstance(key, str) else bytes(key).decode())


class SlotMap:
    """The nodes of a cluster and the slots that each holds, kept up to date by whoever finds it wrong."""

    def __init__(self, seeds: Sequence[Place], make: Callable[[Place], Node]) -> None:
        self._seeds = tuple(seeds)
        self._make = make
        self._nodes: dict[Place, Node] = {}
        self._slots: list[Place | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._learning: asyncio.Task[None] | None = None
        self.known = False

    @property
    def primaries(self) -> list[Node]:
        """A client of each node that holds slots."""
        return [self.node(place) for place in dict.fromkeys(self._slots) if place is not None]

    def node(self, place: Place) -> Node:
        """The client of the node at `place`."""
        if place not in self._nodes:
            self._nodes[place] = self._make(place)
        return self._nodes[place]

    def holder(self, slot: int) -> Node:
        """The client of the node that holds `slot`; raises ConnectionError when none does."""
        place = self._slots[slot]
        if place is None:
            raise RedisConnectionError(f"no node of the cluster holds slot {slot} now")
        return self.node(place)

    def moved(self, slot: int, place: Place) -> None:
        """Notes what a node's MOVED said; the rest of the map is learned beside."""
        self._slots[slot] = place
        self.learn_soon()

    def learn_soon(self) -> asyncio.Task[None]:
        """The task that learns the map; one at a time, whoever asks."""
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._learn())
            self._learning.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._learning

    async def learn(self) -> None:
        """Learns the map; raises ConnectionError when no node tells it."""
        await asyncio.shield(self.learn_soon())

    async def _learn(self) -> None:
        """Asks every node that was ever heard of, and believes the one that took part in the newest election."""
        places = list(dict.fromkeys([*self._nodes, *self._seeds]))
        answers = await asyncio.gather(*(self._ask(place) for place in places), return_exceptions=True)
        views = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not views:
            why = "; ".join(dict.fromkeys(str(error) or repr(error) for error in answers))
            raise RedisConnectionError(f"no node of the cluster answers: {why}")
        views = [view for view in views if view[0]] or views
        _, _, ranges = max(views, key=lambda view: view[1])
        slots: list[Place | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, place in ranges:
            slots[first : last + 1] = [place] * (last + 1 - first)
        if self.known and slots != self._slots:
            log.warning("redis.cluster_changed", primaries=sorted(set(filter(None, slots))))
        self._slots, self.known = slots, True
        self._leave({place for _, _, ranges in views for _, _, place in ranges})

    async def _ask(self, place: Place) -> tuple[bool, int, list[tuple[int, int, Place]]]:
        """Whether a node finds the cluster well, the newest election it knows, and its map."""
        async with asyncio.timeout(ASK_WITHIN):
            pipe = self.node(place).pipeline(transaction=False)
            pipe.execute_command("CLUSTER INFO")
            pipe.execute_command("CLUSTER SLOTS")
            info, rows = await pipe.execute()
        ranges = []
        for first, last, primary, *_ in rows:
            host = primary[0] or place[0]  # a node that knows no address of its own says nothing, or ?
            ranges.append((int(first), int(last), (place[0] if host == "?" else host, int(primary[1]))))
        return info["cluster_state"] == "ok", int(info["cluster_current_epoch"]), ranges

    def _leave(self, holding: set[Place]) -> None:
        """Ends every connection to other nodes: what waits there for an answer is sent to the new holder."""
        for place, node in self._nodes.items():
            pool = node.connection_pool
            if place not in holding and isinstance(pool, Pool):
                for connection in pool.all_connections():
                    if isinstance(connection, Prompt):
                        connection.drop()

    async def close(self) -> None:
        """Ends every connection."""
        if (
            self._learning is not None
        ):  # not cancelled: a TLS handshake that is cut off leaves its socket open
            await asyncio.wait({self._learning})
        for node in self._nodes.values():
            await node.aclose()
