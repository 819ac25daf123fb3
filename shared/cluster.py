"""A Redis Cluster behind the interface of one server.

Every script and transaction here touches one slot, so a command goes to the node that holds its first key, a pipeline
to each node its part. What holds what is learned from the nodes, again whenever one says MOVED or is gone, and every
few seconds. While a slot has no node the caller gets a ConnectionError or CLUSTERDOWN, as when a single server is away.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterParser
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.addresses import Address, Place
from shared.client import Client
from shared.connection import _PackedConnection, _PackedSSLConnection
from shared.pools import Pool, Prompt
from shared.slots import EVERYWHERE, Node, SlotMap, slot_of

TRIES: Final = 5
"""A slot on its way between nodes sends a command back and forth; after this the caller is told to wait."""
PAUSE: Final = 0.02
LOOK_EVERY: Final = 2.0
"""Seconds between looks at the cluster's map, while commands are sent."""
ELSEWHERE: Final = (MovedError, AskError, TryAgainError)
AGAIN: Final = (RedisConnectionError, ClusterDownError, *ELSEWHERE)

Command = tuple[tuple[Any, ...], Mapping[str, Any]]


class _NodeConnection(Prompt, _PackedConnection):
    pass


class _NodeSSLConnection(Prompt, _PackedSSLConnection):
    pass


class Cluster(Redis):
    """A client of a whole cluster; takes every command whose keys lie in one slot."""

    def __init__(self, address: Address, **options: Any) -> None:
        self._kind = _NodeSSLConnection if address.tls else _NodeConnection
        self._options = {**options, **address.options}
        self.map = SlotMap(address.hosts, self._node)
        self._look_at = 0.0
        super().__init__(connection_pool=self._pool(address.hosts[0]))

    def _pool(self, place: Place) -> Pool:
        host, port = place
        return Pool(self._kind, host=host, port=port, parser_class=ClusterParser, **self._options)

    def _node(self, place: Place) -> Node:
        return Client.from_pool(self._pool(place))

    async def primaries(self) -> list[Node]:
        """A client of each node that holds slots; raises redis-py's errors."""
        await self.map.learn()
        return self.map.primaries

    async def ready(self) -> None:
        """Knows the map, and looks from time to time whether it has changed."""
        if not self.map.known:
            await self.map.learn()
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self.map.learn_soon()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As in redis-py, on the node that holds the command's first key."""
        if args[0] in EVERYWHERE:
            every = [_one(node, args, options) for node in await self.primaries()]
            return (await asyncio.gather(*every))[0]
        slot = slot_of(args)
        await self.ready()
        asked: Node | None = None
        for attempt in range(TRIES):
            node = asked or self.map.holder(slot)
            try:
                return await (_asking if asked else _one)(node, args, options)
            except ELSEWHERE as error:
                asked = await self.redirected(error, attempt)
            except (RedisConnectionError, RedisTimeoutError, ClusterDownError) as error:
                asked = None
                if not await self.replaced(slot, node, error):
                    raise
        raise RedisConnectionError(f"slot {slot} is being moved between nodes")

    async def redirected(self, error: RedisError, attempt: int) -> Node | None:
        """Follows a redirection: returns the node to ask this once, None when the map knows better now."""
        if isinstance(error, MovedError):  # which redis-py derives from AskError
            self.map.moved(error.slot_id, (error.host, error.port))
        elif isinstance(error, AskError):
            return self.map.node((error.host, error.port))
        if attempt:
            await asyncio.sleep(PAUSE * 2**attempt)
        return None

    async def replaced(self, slot: int, node: Node, error: RedisError) -> bool:
        """Whether a slot has another node than the one that failed; an unanswered command is not sent again."""
        if isinstance(error, RedisTimeoutError):
            self.map.learn_soon()
            return False
        await self.map.learn()
        return self.map.holder(slot) is not node

    def pipeline(self, transaction: bool = True, _shard_hint: str | None = None) -> "ClusterPipeline":
        """As in redis-py; a transaction's keys lie in one slot, those of a mere pipeline anywhere."""
        return ClusterPipeline(self, transaction)

    def pubsub(self, **_options: Any) -> Any:
        """Is not there: keyspace events are each node's own, so ask each of the `primaries`."""
        raise RedisError("a cluster has no events of its own: follow each of its `primaries`")

    async def aclose(self, _close_connection_pool: bool | None = None) -> None:
        """Ends every connection."""
        await self.map.close()
        await self.connection_pool.disconnect()


class ClusterPipeline(Pipeline):
    """A pipeline whose parts go to their nodes at the same time."""

    def __init__(self, cluster: Cluster, transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, None)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The answers in order; raises the first error unless told otherwise."""
        stack = cast("list[Command]", self.command_stack)
        self.command_stack = []
        if not stack:
            return []
        answers = await (self._transaction(stack) if self.is_transaction else self._parts(stack))
        if raise_on_error:
            self.raise_first_error(stack, answers)
        return answers

    async def _transaction(self, stack: list[Command]) -> list[Any]:
        """All of it on one node; sent again when that does not hold the slot any more, for then nothing was done."""
        slots = {slot_of(args) for args, _ in stack}
        if len(slots) > 1:
            raise RedisError("a transaction's keys must lie in one slot")
        slot = slots.pop()
        await self._cluster.ready()
        for attempt in range(TRIES):
            node = self._cluster.map.holder(slot)
            try:
                return await _on(node, stack, transaction=True)
            except ELSEWHERE as error:
                await self._cluster.redirected(error, attempt + 1)
            except (RedisConnectionError, RedisTimeoutError, ClusterDownError) as error:
                if not await self._cluster.replaced(slot, node, error):
                    raise
        raise RedisConnectionError(f"slot {slot} is being moved between nodes")

    async def _parts(self, stack: list[Command]) -> list[Any]:
        """Each node's commands together; those that a node could not do, one by one where they belong now."""
        await self._cluster.ready()
        parts: dict[Node, list[int]] = {}
        for index, (args, _) in enumerate(stack):
            parts.setdefault(self._cluster.map.holder(slot_of(args)), []).append(index)
        sent = (_on(node, [stack[i] for i in part], transaction=False) for node, part in parts.items())
        answers: list[Any] = [None] * len(stack)
        for part, found in zip(
            parts.values(), await asyncio.gather(*sent, return_exceptions=True), strict=True
        ):
            if isinstance(found, BaseException) and not isinstance(found, AGAIN):
                self._cluster.map.learn_soon()
                raise found
            for place, index in enumerate(part):
                answer = found if isinstance(found, BaseException) else found[place]
                if isinstance(answer, AGAIN):
                    args, options = stack[index]
                    answer = await self._cluster.execute_command(*args, **options)
                answers[index] = answer
        return answers


async def _one(node: Node, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    return await node.execute_command(*args, **options)  # type: ignore[no-untyped-call]


async def _asking(node: Node, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Sends a command to the node that is taking its slot over."""
    answers = await _on(node, [(("ASKING",), {}), (tuple(args), options)], transaction=False)
    if isinstance(answers[1], BaseException):
        raise answers[1]
    return answers[1]


async def _on(node: Node, commands: Sequence[Command], *, transaction: bool) -> list[Any]:
    """Sends commands to one node; their errors stand among the answers."""
    pipe = node.pipeline(transaction=transaction)
    for args, options in commands:
        pipe.execute_command(*args, **options)
    return await pipe.execute(raise_on_error=False)


async def primaries(redis: Redis) -> list[Redis]:
    """The servers behind a client, each by a client of its own: a cluster's nodes that hold slots, else the one."""
    return await redis.primaries() if isinstance(redis, Cluster) else [redis]
