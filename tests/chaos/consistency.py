"""Whether what Redis holds contradicts itself: what a torn write, or one applied twice, would leave behind.

Read while nothing writes. Every finding is a sentence; no finding at all is what is wanted.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isinf

from shared import keys
from shared.cluster import primaries
from shared.connection import Store
from shared.events import unpacked
from shared.model import completed

BAD = ("error", "dead")
SILENT = ("new", "paused", "dead")
"""Statuses without a deadline, except that a started run of a new monitor has one."""


@dataclass(frozen=True, slots=True)
class Found:
    """How many monitors, events and deliveries were looked at, and every contradiction."""

    monitors: int
    events: int
    deliveries: int
    contradictions: list[str]


async def inspect(store: Store) -> Found:
    """Looks at every monitor, its events and every target's deliveries, of all shards."""
    monitors = events = deliveries = 0
    contradictions: list[str] = []
    for shard in range(store.shards):
        chains = await _chains(store, shard)
        events += sum(map(len, chains.values()))
        found = await _monitors(store, shard, chains)
        monitors += len(await store.redis.zrange(keys.deadlines(shard), 0, -1))
        contradictions += found
        seen, wrong = await _deliveries(store, shard)
        deliveries += seen
        contradictions += wrong
    return Found(monitors, events, deliveries, contradictions)


Chain = dict[int, Mapping[str, str]]
"""A monitor's events by generation."""


async def _chains(store: Store, shard: int) -> dict[str, Chain]:
    chains: dict[str, Chain] = defaultdict(dict)
    after = "-"
    while entries := await store.redis.xrange(keys.events(shard), after, "+", count=1_000):
        for _, packed in entries:
            fields = unpacked(packed)
            _, monitor_id, gen = (*fields.get("id", "").split("."), "", "", "")[:3]
            if "monitor" in fields and gen.isdigit():
                if int(gen) in chains[monitor_id]:
                    chains[monitor_id][-int(gen)] = fields  # twice: told below
                chains[monitor_id][int(gen)] = fields
        after = f"({entries[-1][0]}"
    return chains


async def _monitors(store: Store, shard: int, chains: Mapping[str, Chain]) -> list[str]:
    redis = store.redis
    deadlines = dict(await redis.zrange(keys.deadlines(shard), 0, -1, withscores=True))
    opened = set(await redis.zrange(keys.open_incidents(shard), 0, -1))
    pipe = redis.pipeline(transaction=False)
    for monitor_id in deadlines:
        pipe.hgetall(keys.monitor(shard, monitor_id))
        pipe.hgetall(keys.history(shard, monitor_id))
    rows = await pipe.execute()
    contradictions = []
    incidents = set()
    for index, (monitor_id, deadline) in enumerate(deadlines.items()):
        fields, history = rows[2 * index], rows[2 * index + 1]
        fields = completed(monitor_id, fields) if "status" in fields else fields
        wrong = check_monitor(fields, history, deadline, chains.get(monitor_id, {}))
        if incident := fields.get("incident", ""):
            incidents.add(incident)
            if incident not in opened:
                wrong.append(f"its incident {incident} is not among the open ones")
        contradictions += [f"monitor {monitor_id}: {sentence}" for sentence in wrong]
    contradictions += [f"incident {left} is open and no monitor's" for left in sorted(opened - incidents)]
    return contradictions


def check_monitor(
    fields: Mapping[str, str], history: Mapping[str, str], deadline: float, chain: Chain
) -> list[str]:
    """What is wrong about one monitor: its hash, its history, its place in the ledger and its events. Pure."""
    wrong = []
    status, gen = fields.get("status", ""), int(fields.get("gen", 0))
    if not status:
        return ["it is in the ledger and has no record"]
    started = "started" in fields
    if status in SILENT and not isinf(deadline) and not started:
        wrong.append(f"it is {status} and has a deadline")
    if status not in SILENT and deadline == inf:
        wrong.append(f"it is {status} and has no deadline")
    incident = fields.get("incident", "")
    if bool(incident) != (status in BAD):
        wrong.append(f"it is {status} and its incident is {incident or 'none'}")
    for field, value in history.items():
        kind, _, number = field.partition(":")
        closed = kind != "i" or value.split("|")[1] != ""
        if not closed and incident.rpartition(".")[2] != number:
            wrong.append(f"incident {number} of its history is open and not its own")
    return wrong + check_chain(chain, status, gen)


def check_chain(chain: Chain, status: str, gen: int) -> list[str]:
    """What is wrong about a monitor's events: none may be missing, doubled or out of turn. Pure."""
    wrong = [f"generation {-number} was told twice" for number in chain if number < 0]
    numbers = sorted(number for number in chain if number > 0)
    if not numbers:
        return [*wrong, "it has no event at all"]
    # `monitor.updated` may be kept to itself by the server's own changes of settings, which have a generation too.
    if numbers[-1] > gen:
        wrong.append(f"an event tells of generation {numbers[-1]}, its record of {gen}")
    for before, after in pairwise(numbers):
        if chain[before]["new"] != chain[after]["old"]:
            wrong.append(
                f"generation {before} ended {chain[before]['new']}, {after} began {chain[after]['old']}"
            )
    if chain[numbers[-1]]["new"] != status:
        wrong.append(f"its last event says {chain[numbers[-1]]['new']}, its record {status}")
    return wrong


SETS = ("queue", "inflight", "pending", "done", "dead", "repeats")


async def _places(store: Store, shard: int) -> dict[str, dict[str, set[str]]]:
    """The deliveries of each target in each of its sets."""
    places: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for node in await primaries(store.redis):
        for name in SETS:
            async for key in node.scan_iter(keys.of_target(shard, name, "*"), count=1_000):
                members = await store.redis.zrange(key, 0, -1)
                places[key.split(f":{name}:", 1)[1]][name] = set(members)
    return places


async def _deliveries(store: Store, shard: int) -> tuple[int, list[str]]:
    """Each delivery must be in exactly the sets that its status says."""
    wrong, seen = [], 0
    for target, found in (await _places(store, shard)).items():
        queue, inflight, pending, done, dead, repeats = (found.get(name, set()) for name in SETS)
        if (queue | inflight) != pending or queue & inflight:
            wrong.append(f"{target}: {len(queue)} queued, {len(inflight)} claimed, {len(pending)} pending")
        if repeats - queue:
            wrong.append(f"{target}: {len(repeats - queue)} to be sent again are not queued")
        if (done & dead) or (pending & (done | dead)):
            wrong.append(f"{target}: a delivery is finished and not finished at once")
        numbers = sorted(pending | done | dead, key=int)
        seen += len(numbers)
        pipe = store.redis.pipeline(transaction=False)
        for number in numbers:
            pipe.hmget(keys.delivery(shard, target, number), ["status", "event"])
        events: dict[str, str] = {}
        for number, (status, event) in zip(numbers, await pipe.execute(), strict=True):
            right = {"pending": queue, "sending": inflight, "success": done, "failed": dead}.get(status)
            if right is None or number not in right:
                wrong.append(f"{target}: delivery {number} is {status} and elsewhere")
            events[number] = event
        twice = len(events) - len(set(events.values()))
        if twice:
            wrong.append(f"{target}: {twice} events became two deliveries")
    return seen, wrong
