"""Kill -9 of every service, again and again, at random and at named points, while the load goes on.

Each service has a killer of its own, so that several are down at once now and then. Every second kill happens at a
point of `chaos.points`, in turn; the others whenever the draw says.
"""

import asyncio
import random
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final

from chaos import checker, launch, points, rows
from chaos.history import now_ms
from chaos.rig import FALLEN_SILENT, USUAL, Rig, rig
from chaos.score import Context, Score
from chaos.workload import Load

NAME: Final = "kills"
PROMISE: Final = "no change is lost or doubled, whatever process dies"
WEIGHT: Final = 3.0
LEAST: Final = 45.0
FULL: Final = 780.0

KILLED: Final = ("collector", "watchdog", "notifier", "webhooks", "webhooks-worker")
DOUBLED: Final = ("collector", "watchdog", "notifier", "webhooks-worker")
"""Two replicas of these are killed in turn. While the only watchdog is away, nobody notices a silence that ends before
it is back; and one worker that dies every few seconds delivers next to nothing, for its claims hold the places of their
targets for the 6 s of its key."""
SETTLE: Final = 25.0
"""Seconds at the end that belong to the drain: claims of the last victim are taken back after some 10 s."""
UPTIME: Final = (0.3, 2.0)
"""Seconds that a process is let alone after it is ready."""
POINT_WITHIN: Final = 4.0
"""Seconds within which a process has to come by its point; one that does not is killed like the others."""

LOAD: Final = Load(monitors=150, every=0.8, timeout=(1.0, 2.5), silences=0.04, events=10.0, channels=24)


@dataclass(slots=True)
class Toll:
    """What was killed: the kills of each service, and those that happened at a named point."""

    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KILLED, 0))
    at_points: dict[str, int] = field(default_factory=dict)


async def run(context: Context) -> Score:
    """Kills for most of the budget, lets everything drain, and judges."""
    wanted = context.count(200, least=3)
    names = (*USUAL, *(f"{service}#2" for service in DOUBLED))
    async with rig(context, LOAD, names=names, settings={launch.KEEP: "1000000"}) as up:
        toll = Toll()
        up.workload.begin()
        until = now_ms() + 1000 * (context.budget - SETTLE)
        async with asyncio.TaskGroup() as killers:
            for service in KILLED:
                rng = random.Random(f"{context.seed}:{service}")
                killers.create_task(_kill_again_and_again(up, service, wanted, until, toll, rng))
        await up.workload.end()
        facts = await up.settle(drain=max(60.0, context.budget / 4))
        verdict = checker.judge(facts, checker.Limits(found_within=1000 * (FALLEN_SILENT - 1)))
        score = Score()
        for service, count in toll.kills.items():
            score.reach(PROMISE, f"kill -9 of {service}", count, wanted)
        named = sum(map(len, points.POINTS.values()))
        score.reach(
            PROMISE, "named points at which a kill happened", len(toll.at_points), context.count(named)
        )
        score.reach(PROMISE, "transitions", verdict.transitions, context.count(50_000))
        rows.tell(verdict, score)
        processes = sum(toll.kills.values())
        rows.ended(PROMISE, up.world.check(), processes, score)
        score.notes.append(
            "Kills at points: " + ", ".join(f"{p} {n}" for p, n in sorted(toll.at_points.items()))
        )
        return score


async def _kill_again_and_again(
    up: Rig, service: str, wanted: int, until: float, toll: Toll, rng: random.Random
) -> None:
    """Kills one service `wanted` times or until the time is over; it runs at the end, without any point.

    A process that was given a point is waited for whatever the time: it may have come by already.
    """
    places = cycle(points.POINTS.get(service, ("",)))
    armed: dict[str, str] = {}
    for turn in range(wanted):
        name = f"{service}#2" if service in DOUBLED and turn // 2 % 2 else service
        point = armed.get(name, "")
        if not point:
            await asyncio.sleep(rng.uniform(*UPTIME))
            if now_ms() > until:
                break
        await _kill(up, name, point, toll)
        last = turn + 1 == wanted
        armed[name] = next(places) if turn % 2 == 0 and not last else ""
        nth = rng.randint(1, points.PASSES.get(armed[name], 20))
        await up.world.start(name, point=f"{armed[name]}#{nth}" if armed[name] else "")


async def _kill(up: Rig, name: str, point: str, toll: Toll) -> None:
    """One kill: by the process itself if it comes by its point soon, else from outside."""
    service = name.partition("#")[0]
    toll.kills[service] += 1
    if point and await up.world.died(name, POINT_WITHIN):
        label = f"{service} {point}"
        toll.at_points[label] = toll.at_points.get(label, 0) + 1
    else:
        await up.world.kill(name)
