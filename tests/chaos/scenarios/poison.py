"""An entry in the event stream that no consumer can handle is put aside, and holds up nothing else."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final

from chaos.history import now_ms
from chaos.retrying import Writers
from chaos.rig import Rig, rig
from chaos.rows import percentile
from chaos.score import Context, Score
from chaos.wire import Wire
from chaos.workload import Load
from chaos.world import ADMIN_TOKEN
from shared import keys

NAME = "poison"
PROMISE = "a poison event ends aside, and holds up no other"
WEIGHT = 0.3
LEAST = 24.0
FULL = 100.0

GROUPS: Final = ("notifier", "webhooks")
DELIVERIES: Final = 5
UNAFFECTED: Final = 2.0
"""Seconds within which every other event arrives, also while the poison ones are tried again."""
NATURAL: Final = 80.0
"""Seconds that five deliveries take: what was read and not acknowledged is taken over after 10 to 15 s."""
HURRY: Final = 10_001
"""Ms of idleness that a shorter run gives the entries by hand, so that they are taken over in the next round."""
LOAD: Final = Load(monitors=0, events=0.0, channels=0, webhooks=("order.*", "monitor.*"))

POISONS: Final[tuple[dict[str, str], ...]] = (
    {"nothing": "known"},
    {"id": "p-1", "type": "order.placed", "at": "yesterday", "payload": "{}"},
    {"id": "p-2", "type": "order.placed", "at": "1", "payload": "{broken"},
    {"id": "p-3", "type": "monitor.dead", "at": "1", "monitor": "m"},
)


async def run(context: Context) -> Score:
    """Poison among good events; waits until each is aside in each group that it poisons."""
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(rig(context, LOAD))
        wire = await stack.enter_async_context(Wire(up.world.ports["collector"], ADMIN_TOKEN))
        writers = Writers(wire, context.rng, "poison")
        load = [asyncio.create_task(writers.keep_telling(0.1)) for _ in range(4)]
        await asyncio.sleep(2)
        entries = await _poison(up, context.count(25, least=2))
        hurried = context.budget < NATURAL
        most = await _wait(up, entries, hurried=hurried, timeout=max(context.budget * 2, NATURAL))
        writers.stop()
        await asyncio.gather(*load)
        left = await up.drained(15)
        return await _score(up, writers, entries, most, left)


async def _poison(up: Rig, times: int) -> list[str]:
    """Each kind of poison that often, directly into the stream, as only a bug of our own could."""
    added: list[str] = []
    for _ in range(times):
        for fields in POISONS:
            fresh: dict[Any, Any] = {**fields}
            if "id" in fields:
                fresh["id"] = f"{fields['id']}-{len(added)}"
            added.append(await up.store.redis.xadd(keys.events(0), fresh))
            await asyncio.sleep(0.02)
    return added


async def _wait(up: Rig, entries: list[str], *, hurried: bool, timeout: float) -> dict[str, int]:
    """Until none of the entries is pending; the most deliveries that each was seen with."""
    most: dict[str, int] = dict.fromkeys(entries, 0)
    key, until = keys.events(0), now_ms() + 1000 * timeout
    while now_ms() < until:
        pending = False
        for group in GROUPS:
            for row in await up.store.redis.xpending_range(key, group, entries[0], entries[-1], 10_000):
                if row["message_id"] not in most:
                    continue
                pending = True
                most[row["message_id"]] = max(most[row["message_id"]], int(row["times_delivered"]))
                if hurried and row["time_since_delivered"] < HURRY:
                    await up.store.redis.xclaim(
                        key, group, row["consumer"], 0, [row["message_id"]], idle=HURRY, justid=True
                    )
        if not pending:
            break
        await asyncio.sleep(0.3)
    return most


async def _score(
    up: Rig, writers: Writers, entries: list[str], most: Mapping[str, int], left: dict[str, int]
) -> Score:
    aside = [fields for _, fields in await up.store.redis.xrange(keys.poison(0))]
    found = {fields["poison_entry"] for fields in aside}
    score = Score()
    n = len(entries)
    score.zero(PROMISE, "poison entries not put aside", len(set(entries) - found), n)
    worst = max(most.values())
    figure, goal = "deliveries of one poison entry, most", f"≤ {DELIVERIES}"
    score.rows.append(score.row(PROMISE, figure, f"{worst}", n, goal, 0 < worst <= DELIVERIES))
    times = {name: at for (_, name), at in writers.written.acknowledged.items()}
    arrived = {receipt.message: receipt.at for receipt in up.facts.receipts}
    missing = [name for name in times if name not in arrived]
    score.zero(PROMISE, "other events not delivered", len(missing), len(times))
    latency = [arrived[name] - at for name, at in times.items() if name in arrived]
    figure = "delivery of other events meanwhile, p99"
    score.at_most(PROMISE, figure, percentile(latency, 0.99) / 1000, UNAFFECTED, len(latency), " s")
    score.zero(PROMISE, "entries and deliveries left undone", sum(left.values()), n)
    listed = await up.workload.client.need("GET", f"{up.world.url('admin')}/api/system/poison?limit=200")
    score.exactly(PROMISE, "poison entries that the API lists", listed["total"], len(aside), len(aside))
    shown = sum(1 for fields in aside if fields.get("poison_group") and fields.get("poison_error"))
    score.zero(PROMISE, "put aside without a reason", len(aside) - shown, len(aside))
    score.zero(
        PROMISE, "processes that did not live through it", len(up.world.check()), len(up.world.processes)
    )
    return score
