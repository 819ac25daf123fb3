"""Kill -9 of services again and again, at random and at named points, while a load goes on.

Each service has a killer of its own, so that several are down at once now and then. Every second kill happens at a
point of `chaos.points`, in turn; the others whenever the draw says.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final

from chaos import points
from chaos.history import now_ms
from chaos.rig import Rig

UPTIME: Final = (0.3, 2.0)
"""Seconds that a process is let alone after it is ready."""
POINT_WITHIN: Final = 4.0
"""Seconds within which a process has to come by its point; one that does not is killed like the others."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is killed, how often, and where. Two replicas of `doubled` services are killed in turn.

    A process dies at one of the first `passes` passages of its point, or of those that `points.PASSES` says.
    """

    services: Sequence[str]
    doubled: Sequence[str]
    places: Mapping[str, Sequence[str]]
    wanted: int
    passes: int = 20

    @property
    def replicas(self) -> list[str]:
        """The second replicas."""
        return [f"{service}#2" for service in self.doubled]


@dataclass(slots=True)
class Toll:
    """What was killed: the kills of each service, and those that happened at a named point."""

    kills: dict[str, int]
    at_points: dict[str, int] = field(default_factory=dict)

    @property
    def note(self) -> str:
        return "Kills at points: " + ", ".join(f"{p} {n}" for p, n in sorted(self.at_points.items()))


async def kill_again_and_again(up: Rig, plan: Plan, until: float, seed: int) -> Toll:
    """Kills every service of the plan as often as wanted, or until the wall clock (ms) says `until`."""
    toll = Toll(dict.fromkeys(plan.services, 0))
    async with asyncio.TaskGroup() as killers:
        for service in plan.services:
            rng = random.Random(f"{seed}:{service}")
            killers.create_task(_kill_one(up, service, plan, until, toll, rng))
    return toll


async def _kill_one(up: Rig, service: str, plan: Plan, until: float, toll: Toll, rng: random.Random) -> None:
    """Kills one service; it runs at the end, without any point.

    A process that was given a point is waited for whatever the time: it may have come by already.
    """
    places = cycle(plan.places.get(service, ("",)))
    armed: dict[str, str] = {}
    for turn in range(plan.wanted):
        name = f"{service}#2" if service in plan.doubled and turn // 2 % 2 else service
        point = armed.get(name, "")
        if not point:
            await asyncio.sleep(rng.uniform(*UPTIME))
            if now_ms() > until:
                break
        await _kill(up, name, point, toll)
        last = turn + 1 == plan.wanted
        armed[name] = next(places) if turn % 2 == 0 and not last else ""
        nth = rng.randint(1, points.PASSES.get(armed[name], plan.passes))
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
