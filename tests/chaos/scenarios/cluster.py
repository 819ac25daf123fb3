"""The whole story on a Redis Cluster of three primaries, while slots move between its nodes.

Every shard's slot may be moved at any moment: heartbeats, sweeps, streams and deliveries of that shard follow it.
"""

import asyncio
import random
from itertools import count
from typing import Final

from servers import binaries
from topology import ClusterGroup, Node, eventually

from chaos import checker, consistency, rows
from chaos.history import now_ms
from chaos.rig import FALLEN_SILENT, Rig, plain_redis, rig
from chaos.score import Context, Score
from chaos.workload import Load
from shared import keys
from shared.slots import slot_of_key

NAME: Final = "cluster"
PROMISE: Final = "a cluster holds every promise of one server"
WEIGHT: Final = 1.0
LEAST: Final = 45.0
FULL: Final = 240.0

SHARDS: Final = 64
SETTLE: Final = 20.0
REST: Final = (0.2, 1.0)
"""Seconds between two moves."""
LOAD: Final = Load(monitors=150, every=1.0, timeout=(1.5, 3.0), silences=0.05, events=10.0, channels=24)


async def run(context: Context) -> Score:
    """Load and moves for most of the budget, then the verdict on everything."""
    found = binaries()
    folder = context.folder.parent / f"{NAME}-redis"
    group = ClusterGroup(found.get("redis-server") or found["valkey"], folder)
    try:
        group.start()
        async with (
            plain_redis(context.folder.parent / f"{NAME}-queue") as queue,
            rig(context, LOAD, redis_url=group.url, queue_url=queue, shards=SHARDS) as up,
        ):
            up.workload.begin()
            moves = await _keep_moving(group, context.rng, now_ms() + 1000 * (context.budget - SETTLE))
            await up.workload.end()
            return await _judge(up, moves)
    finally:
        group.stop()


async def _judge(up: Rig, moves: int) -> Score:
    verdict = checker.judge(await up.settle(), checker.Limits(found_within=1000 * (FALLEN_SILENT - 1)))
    score = Score()
    score.told(PROMISE, "slots moved under load", f"{moves}", moves)
    rows.tell(verdict, score)
    found = await consistency.inspect(up.store)
    n = found.monitors + found.events + found.deliveries
    score.zero(PROMISE, "contradictions in Redis afterwards", len(found.contradictions), n)
    score.notes += found.contradictions[:3]
    rows.ended(PROMISE, up.world.check(), len(up.world.processes), score)
    spread = [len(node.ask("KEYS", "*:events")) for node in node_list(up)]
    score.notes.append(
        f"cluster: three primaries, {SHARDS} shards, {spread} event streams on each at the end."
    )
    return score


def node_list(up: Rig) -> list[Node]:
    """The nodes behind the store's map, as `topology` asks them."""
    primaries = up.store.redis.map.primaries  # type: ignore[attr-defined]
    return [
        Node("", up.world.folder, port=int(one.connection_pool.connection_kwargs["port"]))
        for one in primaries
    ]


async def _keep_moving(group: ClusterGroup, rng: random.Random, until: float) -> int:
    """Moves one shard's slot after the other to another node, as an operator who reshards; returns how many."""
    for moves in count():
        if now_ms() > until:
            await asyncio.to_thread(eventually, group.settled, "every node finds the cluster well", 30)
            return moves
        slot = slot_of_key(keys.SCHEMA if moves % 16 == 15 else keys.events(rng.randrange(SHARDS)))
        await asyncio.to_thread(_move, group, slot, rng.random())
        await asyncio.sleep(rng.uniform(*REST))
    raise AssertionError


def _move(group: ClusterGroup, slot: int, draw: float) -> None:
    """As `redis-cli --cluster reshard` moves one slot."""
    source = eventually(lambda: _holder(group, slot), f"slot {slot} has a holder")
    others = [node for node in group.nodes if node is not source]
    target = others[int(draw * len(others))]
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
    while found := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 20):
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 4_000, "KEYS", *found)
    for node in (target, source, *group.nodes):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))


def _holder(group: ClusterGroup, slot: int) -> Node | None:
    for node in group.nodes:
        for first, last, (_, port, *_), *_ in node.ask("CLUSTER SLOTS"):
            if first <= slot <= last and port == node.port:
                return node
    return None
