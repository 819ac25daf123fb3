"""The wall clock of one service after another is wrong by a day, in both directions, and jumps while it runs."""

import asyncio
import contextlib
from collections import defaultdict
from typing import Any, Final

from aiohttp import web
from doubles.receiver import Receiver

from chaos import ledger
from chaos.clock import Clock
from chaos.healthy import Fleet, Verdict, judge
from chaos.retrying import Writers
from chaos.rig import USUAL, Rig, rig
from chaos.rows import percentile
from chaos.score import Context, Score
from chaos.wire import Wire
from chaos.workload import Load
from chaos.world import ADMIN_TOKEN
from shared import signing

NAME = "clocks"
PROMISE = "no process's own clock decides anything"
WEIGHT = 0.5
LEAST = 36.0
FULL = 150.0

DAY: Final = 86_400
SECRET: Final = "clock-secret"
MEMBERS: Final = 300
TIMEOUT: Final = (4.0, 6.0)
SLACK: Final = 2.2
SILENCED: Final = 20
FOUND_WITHIN: Final = 3.0
FAILING: Final = 4
"""Requests refused at each step of a clock, so that their repetitions show the schedule."""
RETRY: Final = (4.0, 6.0)
"""Seconds of the first wait: 5 s and 20 % of it."""
BUSY: Final = 2.5
"""Seconds that a repetition may come late on a busy machine."""
TOLERANCE: Final = 60.0
"""Seconds that a signature's time may be off; receivers allow five minutes."""
STEPS: Final = (DAY, 0, -DAY, 0)
LOAD: Final = Load(monitors=0, events=0.0, channels=0, webhooks=())


class Refusing(Receiver):
    """Refuses the next `refusals` events that it sees for the first time; what comes again is taken."""

    refusals = 0

    async def _plain(self, request: web.Request) -> web.Response:
        known = {one["headers"].get("webhook-id") for one in self.journal.received}
        await self._keep(request)
        if self.refusals and request.headers["webhook-id"] not in known:
            self.refusals -= 1
            return web.Response(status=500, text="later")
        return web.Response(text="ok")


async def run(context: Context) -> Score:
    """Every service gets a clock of its own; each is stepped in turn, under load."""
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(rig(context, LOAD))
        clocks = {name: Clock(context.folder / f"clock-{name}") for name in USUAL}
        for name, clock in clocks.items():
            await up.world.restart(name, **clock.environment)
        receiver = await stack.enter_async_context(Refusing())
        await _subscribe(up, receiver)
        wire = await stack.enter_async_context(Wire(up.world.ports["collector"], ADMIN_TOKEN))
        fleet = Fleet(up.store, wire, context.rng)
        await fleet.make(context.count(MEMBERS, least=100), TIMEOUT, slack=SLACK)
        writers = Writers(wire, context.rng, "clock")
        fleet.begin()
        load = [asyncio.create_task(writers.keep_telling(0.2)) for _ in range(4)]
        pause = max(0.5, (context.budget - TIMEOUT[1] - FOUND_WITHIN - 8) / (len(STEPS) * len(clocks)))
        for clock in clocks.values():
            for seconds in STEPS:
                clock.step(seconds)
                receiver.refusals += FAILING
                await asyncio.sleep(pause)
        clocks["watchdog"].step(DAY)
        clocks["collector"].step(-DAY)
        fleet.silence(context.rng.sample(fleet.members, SILENCED))
        await asyncio.sleep(TIMEOUT[1] + FOUND_WITHIN)
        writers.stop()
        await asyncio.gather(*load)
        await fleet.end()
        left = await up.drained(20)
        verdict = judge(fleet.members, await ledger.stream(up.store), await ledger.gaps(up.store))
        return _score(up, verdict, writers, receiver.journal.received, len(fleet.members), left)


async def _subscribe(up: Rig, receiver: Receiver) -> None:
    document = {"name": "clocks", "url": f"{receiver.url}/hook", "event_type": "order.*", "secret": SECRET}
    made = await up.workload.client.need("POST", f"{up.world.url('webhooks')}/webhooks", document)
    up.facts.subscriptions[f"webhook:{made['id']}"] = ("order.*",)


def _score(
    up: Rig,
    verdict: Verdict,
    writers: Writers,
    received: list[dict[str, Any]],
    members: int,
    left: dict[str, int],
) -> Score:
    score = Score()
    steps = len(STEPS) * len(USUAL)
    cases = members * steps
    score.zero(PROMISE, f"healthy monitors called dead in {steps} steps by a day", len(verdict.false), cases)
    silent = len(verdict.missed) + len(verdict.lags)
    score.zero(PROMISE, "silences missed with wrong clocks", len(verdict.missed), silent)
    late = percentile(verdict.lags, 0.99) / 1000
    score.at_most(PROMISE, "their detection after the deadline, p99", late, 1.0, silent, " s")
    attempts = defaultdict(list)
    for one in received:
        headers = {name.lower(): value for name, value in one["headers"].items()}
        attempts[headers["webhook-id"]].append((one["at"], headers, one["body"]))
    names = [name for _, name in writers.written.acknowledged]
    score.zero(PROMISE, "events not delivered", sum(1 for name in names if name not in attempts), len(names))
    score.zero(PROMISE, "deliveries left undone", sum(left.values()), len(names))
    waits = [tries[1][0] - tries[0][0] for tries in attempts.values() if len(tries) > 1]
    early_or_late = [wait for wait in waits if not RETRY[0] - 0.1 <= wait <= RETRY[1] + BUSY]
    score.zero(PROMISE, "repetitions that left their schedule", len(early_or_late), len(waits))
    signed = [one for tries in attempts.values() for one in tries]
    wrong = [one for one in signed if not _sane(*one)]
    score.zero(PROMISE, "signatures with a wrong time", len(wrong), len(signed))
    score.zero(
        PROMISE, "processes that did not live through it", len(up.world.check()), len(up.world.processes)
    )
    return score


def _sane(at: float, headers: dict[str, str], body: str) -> bool:
    """Whether the signature is right, and its time the true one."""
    stamp = int(headers["webhook-timestamp"])
    signature = signing.standard(headers["webhook-id"], stamp, body.encode(), SECRET)
    return signature == headers["webhook-signature"] and abs(at - stamp) < TOLERANCE
