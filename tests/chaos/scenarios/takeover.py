"""Others go on for whoever dies or stalls, and whoever comes back too late is shut out.

Two replicas of each worker run. First one of each is killed, and what it held has to go on; then one of each is
stopped for longer than every lease (6 s of a worker's key, 10 s of a stream entry) and let go again: whatever it still
wants to write is stale.
"""

import asyncio
from collections import defaultdict
from typing import Final

from chaos import checker, points, rows
from chaos.history import Facts, now_ms
from chaos.rig import FALLEN_SILENT, USUAL, Rig, rig
from chaos.score import Context, Score
from chaos.workload import Load

NAME: Final = "takeover"
PROMISE: Final = "others go on for whoever dies or stalls"
WEIGHT: Final = 1.5
LEAST: Final = 78.0
FULL: Final = 480.0

DOUBLED: Final = ("watchdog", "notifier", "webhooks-worker")
GOES_ON_WITHIN: Final = 15.0
TAKES_OVER_WITHIN: Final = 2.0
WATCHED: Final = 16.5
"""Seconds after a kill in which its deliveries are followed."""
STALL: Final = 16.5
"""Longer than every lease, and than the looks of those who take over (10 s and 5 s)."""
LONG_STALL: Final = 150.0
SETTLE: Final = 26.0
POINT_WITHIN: Final = 8.0
"""Seconds within which a process comes by its point; one that does not is killed like the others."""
POINTS: Final = ("", "after:read", "after:send", "after:delivery_claim", "before:stream_ack")

# So many channels, and so few changes for each, that none comes to its limit of 5 messages in 10 s: what waits for a
# digest is no delay of ours.
LOAD: Final = Load(
    monitors=160, every=1.0, timeout=(1.6, 2.5), silences=0.05, statuses=(0.9, 0.02, 0.08), channels=160
)


async def run(context: Context) -> Score:
    """Kills for two thirds of the budget, stalls for the rest, and judges."""
    names = (*USUAL, *(f"{service}#2" for service in DOUBLED))
    async with rig(context, LOAD, names=names) as up:
        # Slow enough that every fault finds messages on their way, quick enough that 20 at a time suffice.
        up.receivers.delay = (0.02, 0.15)
        up.workload.begin()
        stalls = [STALL, LONG_STALL] if context.scale >= 1 else [STALL]
        until = now_ms() + 1000 * (context.budget - SETTLE - sum(stalls) - 5 * len(stalls))
        kills = 0
        while not kills or now_ms() + 1000 * (WATCHED + POINT_WITHIN) < until:
            await _kill_one_of_each(up, POINTS[kills % len(POINTS)], kills)
            kills += 1
        for index, seconds in enumerate(stalls):
            await _stall_one_of_each(up, seconds, index)
        await up.workload.end()
        facts = await up.settle()
        return _judge(up, facts, kills, len(stalls))


def _replica(service: str, turn: int) -> str:
    return f"{service}#2" if turn % 2 else service


async def _kill_one_of_each(up: Rig, point: str, turn: int) -> None:
    """Kills a watchdog, a notifier and a worker at once, or each at its point; they come back after a while."""
    victims = [_replica(service, turn) for service in DOUBLED]
    await asyncio.gather(*(_kill(up, name, point) for name in victims))
    await asyncio.sleep(WATCHED)
    await up.world.start(*victims)


async def _kill(up: Rig, name: str, point: str) -> None:
    if point in points.POINTS[name.partition("#")[0]]:
        await up.world.restart(name, point=f"{point}#30")
        if await up.world.died(name, POINT_WITHIN):
            return
    await up.world.kill(name)


async def _stall_one_of_each(up: Rig, seconds: float, turn: int) -> None:
    """Stops a watchdog, a notifier and a worker for so long, and lets them go on where they were."""
    victims = [_replica(service, turn) for service in DOUBLED]
    began = now_ms()
    for name in victims:
        up.world.stall(name)
    await asyncio.sleep(seconds)
    for name in victims:
        up.world.resume(name)
        up.history.fault("stall", name, began, now_ms())
    await asyncio.sleep(5)


def longest_wait(facts: Facts, service: str) -> tuple[float, int]:
    """The longest time, in s, from a kill of `service` to a delivery that was due by then; and how many kills.

    Due by then: its event happened in the 3 s before. What had been received already but came again, because its
    record was missing, counts by its second copy.
    """
    kind = "channel" if service == "notifier" else "webhook"
    received: dict[tuple[str, str], list[float]] = defaultdict(list)
    for receipt in facts.receipts:
        for event in receipt.events:
            received[receipt.target, event].append(receipt.at)
    at = {event.id: event.at for event in facts.events}
    kills = [
        one.start for one in facts.faults if one.kind == "kill" and one.name.partition("#")[0] == service
    ]
    longest = 0.0
    for killed in kills:
        for (target, event), times in received.items():
            if not target.startswith(kind) or not killed - 3_000 <= at.get(event, 0) <= killed:
                continue
            later = [time - killed for time in times if time > killed]
            longest = max([longest, *later])
    return longest / 1000, len(kills)


def lag_after(facts: Facts, lags: list[tuple[float, float]]) -> tuple[float, int]:
    """The longest lag, in s, of a death within 5 s of a watchdog's kill or stall; and how many such faults."""
    faults = [one for one in facts.faults if one.name.partition("#")[0] == "watchdog"]
    near = [lag for at, lag in lags if any(one.start <= at <= one.end + 5_000 for one in faults)]
    return max(near, default=0.0) / 1000, len(faults)


def _judge(up: Rig, facts: Facts, kills: int, stalls: int) -> Score:
    verdict = checker.judge(facts, checker.Limits(found_within=1000 * (FALLEN_SILENT - 1)))
    score = Score()
    for service in ("notifier", "webhooks-worker"):
        longest, count = longest_wait(facts, service)
        score.at_most(PROMISE, f"a killed {service}'s deliveries go on", longest, GOES_ON_WITHIN, count, " s")
    longest, count = lag_after(facts, verdict.deaths_lags)
    score.at_most(
        PROMISE, "a watchdog killed or stalled, another declares", longest, TAKES_OVER_WITHIN, count, " s"
    )
    done = [letter for letter in facts.letters if letter.status == "success"]
    stale = sum(letter.attempt - 1 for letter in done) + len(verdict.miscounted)
    score.zero(PROMISE, "stale results accepted", stale, len(done))
    score.zero(PROMISE, "stale transitions accepted", len(verdict.doubled), verdict.transitions)
    rows.tell(verdict, score)
    rows.ended(PROMISE, up.world.check(), 3 * (kills + stalls), score)
    refused = sum(up.world.log(name).read_text().count('"result": "stale"') for name in up.world.processes)
    score.notes.append(
        f"{stalls} stalls of three processes each; stale results that were refused: {refused}."
    )
    return score
