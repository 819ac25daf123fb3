"""Kill -9 of whoever delivers, while each process sends one message at a time: what comes again can be counted.

A kill can then fall between the send and the record of one message at most, so there is a kill for each one that came
again. Where many are under way, as in `kills`, one kill repeats them all.
"""

from collections import Counter
from typing import Final

from chaos import checker, killing, launch, repeats, rows
from chaos.history import Facts, now_ms
from chaos.killing import Toll
from chaos.rig import FALLEN_SILENT, USUAL, rig
from chaos.score import Context, Score
from chaos.workload import Load

NAME: Final = "one_send"
PROMISE: Final = "at most the message between send and record comes again"
WEIGHT: Final = 1.0
LEAST: Final = 40.0
FULL: Final = 600.0

KILLED: Final = ("notifier", "webhooks-worker")
POINTS: Final = {
    "notifier": (
        *("after:send", "before:send", "after:delivery_claim", "after:delivery_record"),
        *("before:delivery_seal", "after:delivery_seal"),
    ),
    "webhooks-worker": ("after:send", "before:send", "after:delivery_claim", "after:delivery_record"),
}
"""First the one at which a message certainly comes again, for a run of few kills."""
PASSES: Final = 4
"""Passages of a point among which one is drawn: so few messages that a process comes by in time."""
SETTLE: Final = 24.0
"""Seconds at the end that belong to the drain: claims of the last victim are taken back after some 10 s."""

# What one send at a time can keep up with, and some digests: a channel gets some 5 messages in 10 s.
LOAD: Final = Load(
    monitors=14,
    every=1.6,
    timeout=(1.8, 2.6),
    silences=0.04,
    events=2.0,
    channels=14,
    webhooks=("order.*", "*"),
)
ANSWERS_AFTER: Final = (0.05, 0.15)
"""Seconds: so slow that a kill at random often finds a message sent and not recorded."""
NEAR: Final = checker.Limits(record_within=1_000, reach_within=1_000)
"""Ms between a send and its kill: 160 were the most on a free machine, 800 can be on a busy one. In 2,000, kills that
repeated nothing stood in for what two sends at a time repeated."""


async def run(context: Context) -> Score:
    """Kills for most of the budget, lets everything drain, and judges."""
    wanted = context.count(200, least=3)
    plan = killing.Plan(KILLED, KILLED, POINTS, wanted, PASSES)
    settings = {launch.KEEP: "1000000", "PULSE_MAX_SENDS": "1"}
    async with rig(context, LOAD, names=(*USUAL, *plan.replicas), settings=settings) as up:
        up.receivers.delay = ANSWERS_AFTER
        up.workload.begin()
        until = now_ms() + 1000 * (context.budget - SETTLE)
        toll = await killing.kill_again_and_again(up, plan, until, context.seed)
        await up.workload.end()
        facts = await up.settle(drain=max(60.0, context.budget / 4))
        score = _judge(facts, toll, wanted, context.count(60))
        rows.ended(PROMISE, up.world.check(), sum(toll.kills.values()), score)
        return score


def _judge(facts: Facts, toll: Toll, wanted: int, repeated: int) -> Score:
    verdict = checker.judge(facts, checker.Limits(found_within=1000 * (FALLEN_SILENT - 1)))
    again = repeats.found(facts, NEAR)
    left = repeats.without_a_kill(again, facts.faults)
    kills = sum(toll.kills.values())
    score = Score()
    for service, count in toll.kills.items():
        score.reach(PROMISE, f"kill -9 of {service}", count, wanted)
    score.reach(PROMISE, "messages that came again", len(again), repeated)
    score.zero(
        PROMISE,
        "messages that came again beyond the kills between their send and their record",
        len(left),
        kills,
    )
    rows.tell(verdict, score)
    of = Counter(repeat.service for repeat in again)
    told = ", ".join(
        f"{of[service]} with {count} kills of {service}" for service, count in toll.kills.items()
    )
    score.notes.append(f"Messages that came again: {told}.")
    score.notes += [f"beyond the kills: {one.target} {one.message}" for one in left[:3]]
    score.notes.append(toll.note)
    return score
