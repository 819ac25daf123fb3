"""An hour of steady load: nothing grows that is not kept on purpose, and everything is worked off at the end.

Flat means: over the last three quarters of the run the memory of each process grows by less than 8 MiB an hour, and so
does what Redis uses beyond what it keeps for days by design. At 500 heartbeats/s and 50 events/s a leak of 5 bytes per
heartbeat or of 47 bytes per event would be seen; the wobble of an allocator is well below.
"""

import asyncio
import json
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from chaos import ledger, memory, rows, steady
from chaos.history import History, Receipt
from chaos.memory import Sample
from chaos.rig import Rig, rig
from chaos.score import Context, Score
from chaos.workload import Load
from shared import keys

NAME: Final = "soak"
PROMISE: Final = "memory stays flat and everything is worked off"
ALONE: Final = True
"""Only by name: it takes an hour."""
LEAST: Final = 60.0
FULL: Final = 3600.0

HEARTBEATS: Final = 500.0
EVENTS: Final = 25.0
"""Application events a second; the monitors' own make up the other half of 50."""
ERRORS: Final = 0.025
"""The part of heartbeats that are errors: each makes two transitions, so 25 events a second."""
MONITORS: Final = 1000
SILENT: Final = 10
SILENT_FOR: Final = 8.0
EVERY: Final = 15.0
FLAT: Final = 8 * 2**20
JUDGED_FROM: Final = 1200.0
"""Seconds below which a slope per hour says nothing: it is told then, and not judged."""

LOAD: Final = Load(
    monitors=MONITORS, timeout=(5.0, 5.0), channels=2, webhooks=("order.*", "monitor.*"), events=0.0
)


class Tally(History):
    """Counts what is delivered instead of keeping it: an hour is too long to keep."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.received: dict[str, Counter[str]] = {}

    def receipt(self, receipt: Receipt) -> None:
        self.received.setdefault(receipt.target, Counter()).update(receipt.events)


async def run(context: Context) -> Score:
    """The load for the whole budget, a look every 15 s, then the drain."""
    async with rig(context, LOAD, history=Tally) as up:
        up.stop_following()  # an hour of events is not kept in this process
        samples, beats, events = await _drive(up, context)
        left = await up.drained(120)
        due = {kind: int(await up.store.redis.zcard(keys.due(0, kind))) for kind in ("channel", "webhook")}
        entries = await ledger.count(up.store)
        return _judge(up, context, samples, beats, events, left, due, entries)


async def _drive(up: Rig, context: Context) -> tuple[list[Sample], steady.Steady, steady.Steady]:
    tokens = [one.token for one in up.workload.monitors]
    silent: set[str] = set()
    url = up.world.url("collector")
    beats = steady.Steady(url, steady.heartbeats(tokens, context.rng, ERRORS, silent), HEARTBEATS)
    events = steady.Steady(url, steady.application_events("soak", "order.placed"), EVENTS, connections=2)
    running = [asyncio.create_task(load.run()) for load in (beats, events)]
    samples: list[Sample] = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    turn = 0
    while loop.time() < began + context.budget:
        silent.clear()
        if turn % 2 == 0:
            silent.update(context.rng.sample(tokens, SILENT))
        turn += 1
        await asyncio.sleep(SILENT_FOR)
        if turn * SILENT_FOR >= (len(samples) + 1) * EVERY:
            samples.append(await look(up, loop.time() - began))
            up.history.note(sample=asdict(samples[-1]))
            with suppress(OSError):
                (context.folder / "samples.json").write_text(json.dumps([asdict(one) for one in samples]))
    silent.clear()
    for load in (beats, events):
        load.stop()
    await asyncio.gather(*running)
    return samples, beats, events


async def look(up: Rig, at: float) -> Sample:
    """One look at every process and at Redis."""
    processes = {name: up.world.rss(name) for name in up.world.processes}
    used, kept, residue, counts = await memory.of_redis(up.store)
    return Sample(round(at, 1), processes, used, kept, residue, counts)


def _judge(
    up: Rig,
    context: Context,
    samples: list[Sample],
    beats: steady.Steady,
    events: steady.Steady,
    left: dict[str, int],
    due: dict[str, int],
    entries: int,
) -> Score:
    score = Score()
    warm_up = context.budget / 4
    series = {name: [(one.at, float(one.processes[name])) for one in samples] for name in up.world.processes}
    series["redis beyond what it keeps"] = [(one.at, float(one.residue)) for one in samples]
    for name, points in series.items():
        growth = memory.growth_per_hour(points, warm_up)
        told = f"{growth / 2**20:+.1f} MiB/h at {points[-1][1] / 2**20:.0f} MiB"
        figure = f"memory of {name}, growth after warm-up"
        if context.budget < JUDGED_FROM:
            score.told(PROMISE, figure, told, len(points), "judged from 20 min on")
        else:
            score.rows.append(score.row(PROMISE, figure, told, len(points), "≤ 8 MiB/h", growth <= FLAT))
    score.zero(PROMISE, "pending entries and deliveries at the end", sum(left.values()), entries)
    score.zero(PROMISE, "targets in the due set at the end", sum(due.values()), entries)
    assert isinstance(up.history, Tally)
    got = up.history.received.get("webhook:1", Counter())
    ours = [name for name in got if name.startswith("soak-")]
    score.zero(
        PROMISE, "acknowledged events not delivered", max(0, events.acknowledged - len(ours)), len(ours)
    )
    score.zero(PROMISE, "events delivered twice", sum(1 for name in ours if got[name] > 1), len(ours))
    score.zero(PROMISE, "requests that failed", beats.failed + events.failed, beats.sent + events.sent)
    rows.ended(PROMISE, up.world.check(), len(up.world.processes), score)
    seconds = max(1.0, samples[-1].at) if samples else 1.0
    score.told(PROMISE, "heartbeats per second", f"{beats.acknowledged / seconds:.0f}", beats.acknowledged)
    score.told(PROMISE, "events per second", f"{entries / seconds:.0f}", entries)
    if samples:
        first, last = samples[0], samples[-1]
        grown = sorted(
            (name, first.keys.get(name, 0), count) for name, count in last.keys.items() if name in memory.KEPT
        )
        words = ", ".join(f"{name} {before:,} → {after:,}" for name, before, after in grown)
        score.notes.append(
            f"Kept by design at the end: {last.kept / 2**20:.0f} of {last.redis / 2**20:.0f} MiB; keys: {words}"
        )
    return score
