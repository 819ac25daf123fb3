"""The one place where silence becomes a transition."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import structlog

from shared import keys, metrics, monitors, scripts, synthetic
from shared.connection import Store, is_away
from shared.model import Monitor, credited, next_run

log = structlog.get_logger(__name__)

DEATHS = metrics.TRANSITIONS.labels("dead")
Finder = Literal["hint", "sweep"]

BATCH = 40
"""Deaths declared in one script call, some 0.8 ms of Redis' time, and one call at a time: while this process writes the
next, heartbeats pass. Two calls under way kept Redis busy without a gap; fewer deaths in one cost everybody more."""

UNHEARD_PAUSE = 0.005
"""Seconds until a deadline is looked at again that passed after the collectors' newest stamp."""

PUT_OFF_MS = 60_000
"""A monitor that cannot be judged is looked at again after this, as in `declare.lua`."""


@dataclass(frozen=True, slots=True)
class Rearm:
    """A cron monitor that is not dead: its next deadline and the time it counts from, in ms."""

    deadline: int
    base: int


async def declare(store: Store, shard: int, ids: Sequence[str], by: Finder = "sweep") -> int:
    """Declares dead whichever of `ids` are past their deadline; returns how many were.

    1. One script call per batch checks each deadline again and declares dead what dies by the short way. A deadline
       that the collectors' stamp has not reached yet is waited for: a stamp follows each deadline at once.
    2. The few others take a second call, which credits gaps and declares the rest dead.
    3. Monitors with a cron schedule come back for judgement: the script knows no cron. They are judged after all
       batches, for most of them live, and deaths need not wait for that. A batch of them is re-armed by
       compare-and-set in one call, or declared in another one that names the states judged.

    A batch that fails does not keep the others from being declared; the first error is raised after them.
    """
    dead = now = 0
    errors: list[Exception] = []
    unjudged: list[str] = []
    for batch in _batches(ids):
        with _kept(errors):
            now, results = await _declare_heard(store, shard, batch)
            dead += _count(list(results.items()), by)
            unjudged += [one for one, result in results.items() if result == scripts.NEEDS_JUDGEMENT]
            _tell_of_damage([one for one, result in results.items() if result == scripts.DAMAGED])
    for batch in _batches(unjudged):
        with _kept(errors):
            dead += await _judge_schedules(store, shard, batch, now, by)
    if errors:
        raise errors[0]
    return dead


def _batches(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]


def _tell_of_damage(ids: Sequence[str]) -> None:
    for monitor_id in ids:
        log.error("a monitor's record is damaged; looked at again in a minute", monitor=monitor_id)


@contextmanager
def _kept(errors: list[Exception]) -> Iterator[None]:
    """Keeps an error for later; not that of a store that is away, which would let each further call wait in vain."""
    try:
        yield
    except Exception as error:
        if is_away(error):
            raise
        errors.append(error)


async def _declare_heard(store: Store, shard: int, ids: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Redis time in ms and the script's answer for each; none for those whose stamp went stale meanwhile."""
    answers: dict[str, int] = {}
    while True:
        now, found = await judged(store, shard, ids)
        answers |= found
        ids = [one for one, result in found.items() if result == scripts.UNHEARD]
        if not ids:
            return now, answers
        await asyncio.sleep(UNHEARD_PAUSE)


async def judged(store: Store, shard: int, ids: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Redis time in ms and the scripts' answer for each, those that need the long way asked a second time.

    What had no answer, because the stamp was stale, is left out.
    """
    now, results = await scripts.perish(store.redis, shard, ids)
    found = dict(zip(ids, results, strict=False))
    others = [one for one, result in found.items() if result == scripts.LONG_WAY]
    if others:
        now, results = await scripts.declare(store.redis, shard, dict.fromkeys(others, ""))
        found = {one: result for one, result in found.items() if result != scripts.LONG_WAY}
        found |= zip(others, results, strict=False)
    return now, found


def _count(found: Sequence[tuple[str, int]], by: Finder) -> int:
    """How many died; the self-ping's death is no news, but its lag is the lag."""
    lags = {monitor_id: lag for monitor_id, lag in found if lag >= 0}
    metrics.DETECTION_LAG.observe_all([lag / 1000 for lag in lags.values()])
    deaths = len(lags) - (synthetic.MONITOR in lags)
    DEATHS.inc(deaths)
    metrics.DETECTIONS.labels(by).inc(deaths)
    return len(lags)


async def _judge_schedules(store: Store, shard: int, ids: Sequence[str], now: int, by: Finder) -> int:
    members = await store.redis.zrange(keys.gaps(shard), 0, -1)
    gaps = [(int(start), int(end)) for start, _, end in (member.partition("-") for member in members)]
    newest = max((end for _, end in gaps), default=0)
    verdicts = {}
    alive = []
    judged = _judge_all(await monitors.get_many(store, ids), now, gaps)
    for monitor, verdict in judged:
        seen = monitor.seen or 0
        if verdict is None:
            verdicts[monitor.id] = f"{monitor.gen}:{seen}:{newest}"
        else:
            alive.append(scripts.CronDeadline(monitor.id, monitor.gen, seen, verdict.deadline, verdict.base))
    if alive:
        answers = zip(alive, await scripts.rearm(store.redis, shard, alive), strict=True)
        _tell_of_damage([one.monitor_id for one, answer in answers if answer == scripts.DAMAGED])
    left = dict.fromkeys(set(ids) - {monitor.id for monitor, _ in judged}, now + PUT_OFF_MS)
    if left:  # deleted meanwhile, which this leaves as it is, or damaged
        await store.redis.zadd(keys.deadlines(shard), left, xx=True, gt=True)
    if not verdicts:
        return 0
    _, results = await scripts.declare(store.redis, shard, verdicts)
    return _count(list(zip(verdicts, results, strict=False)), by)


def _judge_all(
    found: Sequence[Monitor], now: int, gaps: Sequence[tuple[int, int]]
) -> list[tuple[Monitor, Rearm | None]]:
    """The verdict on each; one that cannot be judged is left out, for it must not hold up all others."""
    judged = []
    for monitor in found:
        try:
            judged.append((monitor, judge(monitor, now, gaps)))
        except Exception:
            log.exception("a monitor cannot be judged; tried again in a minute", monitor=monitor.id)
    return judged


def judge(monitor: Monitor, now: int, gaps: Sequence[tuple[int, int]]) -> Rearm | None:
    """Whether a due cron monitor lives: its next deadline when it does, None when it is dead. Pure.

    The deadline is the first time of its schedule after the last heartbeat, plus grace. A gap in our own listening
    that touches it makes it the first time after the gap, plus grace. A schedule that never fires again has no
    deadline, which a year from now stands for.
    """
    base = max(monitor.seen or 0, monitor.base or 0) or monitor.since
    while True:
        try:
            deadline = next_run(monitor.schedule, monitor.timezone, base) + monitor.grace
        except ValueError:
            log.warning("schedule never fires again", monitor=monitor.id, schedule=monitor.schedule)
            return Rearm(now + 31_536_000_000, base)
        if deadline > now:
            return Rearm(deadline, base)
        _, later = credited(deadline, base, list(gaps), 0)
        if later == base:
            return None
        base = later
