"""Rolling restarts under load, as a deploy does them: SIGTERM, wait, start, wait, the next one."""

import asyncio
from itertools import cycle
from typing import Final

from chaos import checker, rows
from chaos.history import now_ms
from chaos.rig import FALLEN_SILENT, USUAL, Rig, rig
from chaos.score import Context, Score
from chaos.workload import Load

NAME: Final = "rolling"
PROMISE: Final = "a deploy loses nothing and uses up no attempt"
WEIGHT: Final = 1.5
LEAST: Final = 45.0
FULL: Final = 620.0

RESTARTED: Final = ("collector", "watchdog", "notifier", "webhooks-worker")
"""Two replicas of each; the other one goes on meanwhile."""
SETTLE: Final = 24.0
LOAD: Final = Load(monitors=100, every=1.0, timeout=(1.5, 3.0), channels=40)


async def run(context: Context) -> Score:
    """Restarts one replica after the other until the budget, or the wanted number, is reached."""
    wanted = context.count(100, least=4)
    seconds: list[float] = []
    async with rig(context, LOAD, names=(*USUAL, *(f"{service}#2" for service in RESTARTED))) as up:
        # Receivers take their time, so that every stop finds messages on their way.
        up.receivers.delay = (0.02, 0.2)
        up.workload.begin()
        names = cycle([*RESTARTED, *(f"{service}#2" for service in RESTARTED)])
        until = now_ms() + 1000 * (context.budget - SETTLE)
        while len(seconds) < wanted and now_ms() < until:
            seconds.append(await _restart(up, next(names)))
        await up.workload.end()
        facts = await up.settle()
        verdict = checker.judge(facts, checker.Limits(found_within=1000 * (FALLEN_SILENT - 1)))
        score = Score()
        score.reach(PROMISE, "restarts", len(seconds), wanted)
        score.at_most(PROMISE, "longest end after SIGTERM", max(seconds), 10, len(seconds), " s")
        done = [letter for letter in facts.letters if letter.status == "success"]
        consumed = sum(letter.attempt - 1 for letter in done)
        score.zero(PROMISE, "attempts consumed by restarts", consumed, len(done))
        rows.tell(verdict, score)
        score.zero(PROMISE, "processes that did not end as asked", len(up.world.check()), len(seconds))
        score.notes += up.world.surprises[:3]
        unanswered = sum(1 for one in facts.requests if one.outcome == "indeterminate")
        refused = sum(1 for one in facts.requests if one.outcome == "refused")
        score.notes.append(
            f"Requests: {len(facts.requests):,}; {refused} refused and {unanswered} cut off while a collector "
            "restarted, all of which their clients know of."
        )
        return score


async def _restart(up: Rig, name: str) -> float:
    """One restart; returns the seconds that the old process took to end."""
    took = await up.world.terminate(name)
    await up.world.start(name)
    await asyncio.sleep(0.2)
    return took
