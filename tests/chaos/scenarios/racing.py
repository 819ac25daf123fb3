"""Five watchdogs and five notifiers, no leader among them: one of each wins every race."""

from typing import Final

from chaos import checker, rows
from chaos.rig import FALLEN_SILENT, USUAL, rig
from chaos.score import Context, Score
from chaos.workload import Load

NAME: Final = "racing"
PROMISE: Final = "one transition, one event and one message, with any number of processes"
LEAST: Final = 40.0
FULL: Final = 180.0

REPLICAS: Final = tuple(f"{service}#{n}" for service in ("watchdog", "notifier") for n in range(2, 6))
SETTLE: Final = 22.0
LOAD: Final = Load(
    monitors=150, every=1.0, timeout=(1.0, 1.5), silences=0.3, pauses=0.02, edits=0.02, channels=24
)


async def run(context: Context) -> Score:
    """A load full of silences for most of the budget, without any fault: so no duplicate has an excuse."""
    async with rig(context, LOAD, names=(*USUAL, *REPLICAS)) as up:
        await up.workload.run(context.budget - SETTLE)
        facts = await up.settle()
        verdict = checker.judge(facts, checker.Limits(found_within=1000 * (FALLEN_SILENT - 1)))
        score = Score()
        score.told(PROMISE, "deaths that five watchdogs raced for", f"{verdict.deaths:,}", verdict.deaths)
        rows.tell(verdict, score)
        rows.ended(PROMISE, up.world.check(), len(up.world.processes), score)
        return score
