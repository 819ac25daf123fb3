"""Kill -9 of every service, again and again, while the load goes on: at random and at named points."""

from typing import Final

from chaos import checker, killing, launch, points, rows
from chaos.history import now_ms
from chaos.rig import FALLEN_SILENT, USUAL, rig
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

LOAD: Final = Load(monitors=150, every=0.8, timeout=(1.0, 2.5), silences=0.04, events=10.0, channels=24)


async def run(context: Context) -> Score:
    """Kills for most of the budget, lets everything drain, and judges."""
    wanted = context.count(200, least=3)
    plan = killing.Plan(KILLED, DOUBLED, points.POINTS, wanted)
    async with rig(context, LOAD, names=(*USUAL, *plan.replicas), settings={launch.KEEP: "1000000"}) as up:
        up.workload.begin()
        until = now_ms() + 1000 * (context.budget - SETTLE)
        toll = await killing.kill_again_and_again(up, plan, until, context.seed)
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
        score.notes.append(toll.note)
        return score
