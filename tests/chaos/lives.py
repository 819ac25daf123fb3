"""The checker's part that looks at one monitor at a time: does its history make sense? Pure."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from chaos.history import Facts, Fault, Request, StreamEvent
from chaos.verdict import TICK, Limits, Verdict

STATUS: Final = {"ok": "alive", "warning": "warning", "error": "error"}


def judge(
    monitor: str,
    requests: Sequence[Request],
    events: Sequence[StreamEvent],
    facts: Facts,
    verdict: Verdict,
    limits: Limits,
) -> None:
    """Everything that can be said of one monitor; `requests` by their start, `events` in the stream's order."""
    _generations(monitor, events, verdict)
    timeline = Timeline(events)
    _beats(requests, timeline, verdict)
    _causes(requests, events, facts, verdict, limits)
    _deaths(requests, events, facts.gaps_of(monitor), verdict, limits)
    _silences(requests, events, timeline, facts, verdict, limits)


def generation(event: StreamEvent) -> int:
    """The number at the end of a monitor event's id."""
    return int(event.id.rpartition(".")[2])


def _generations(monitor: str, events: Sequence[StreamEvent], verdict: Verdict) -> None:
    """Each change once, none missing, each beginning where the one before ended."""
    verdict.transitions += sum(1 for event in events if event.old != event.new)
    for before, after in pairwise(events):
        step = generation(after) - generation(before)
        if step <= 0:
            verdict.doubled.append(after.id)
        elif step > 1:
            verdict.holes.append(f"{monitor}: {before.id} then {after.id}")
        if step == 1 and after.old != before.new:
            verdict.broken_chains.append(f"{after.id}: {before.new} then {after.old} → {after.new}")


class Timeline:
    """The status of one monitor over time, from its events."""

    def __init__(self, events: Sequence[StreamEvent]) -> None:
        self._at = [event.at for event in events]
        self._new = [event.new for event in events]

    def during(self, start: float, end: float) -> set[str]:
        """Every status it had between two times."""
        first = bisect.bisect_left(self._at, start - TICK)
        last = bisect.bisect_right(self._at, end + TICK)
        return set(self._new[max(0, first - 1) : last])


def _beats(requests: Sequence[Request], timeline: Timeline, verdict: Verdict) -> None:
    for request in requests:
        if request.kind != "beat" or request.outcome != "acknowledged":
            continue
        verdict.beats += 1
        had = timeline.during(request.started, request.ended)
        if STATUS[request.what] not in had and "paused" not in had:
            verdict.beats_lost.append(
                f"{request.monitor} {request.what} at {request.ended:.0f}: was {sorted(had)}"
            )


CAUSES: Final = {"heartbeat": "beat", "paused": "pause", "resumed": "resume", "updated": "edit"}


def _causes(
    requests: Sequence[Request],
    events: Sequence[StreamEvent],
    facts: Facts,
    verdict: Verdict,
    limits: Limits,
) -> None:
    """Each event that a client caused has its request; one request causes one event."""
    known = [request for request in requests if request.outcome == "acknowledged"]
    starts = [request.started for request in known]
    open_ends = [
        (request, last_effect(request, facts.faults, limits))
        for request in requests
        if request.outcome == "indeterminate"
    ]
    for event in events:
        if event.reason not in CAUSES:
            continue
        newest = bisect.bisect_right(starts, event.at + TICK)
        # Those that were acknowledged first: they were carried out while they were under way, one after another.
        near = [request for request in known[max(0, newest - 3) : newest] if event.at <= request.ended + TICK]
        late = [request for request, until in open_ends if request.started - TICK <= event.at <= until + TICK]
        cause = next((request for request in [*near, *late] if _fits(request, event)), None)
        if cause is None:
            verdict.uncaused.append(f"{event.id} {event.reason} at {event.at}")
        elif cause in late:
            open_ends = [one for one in open_ends if one[0] is not cause]
        else:
            place = known.index(cause, max(0, newest - 3))
            del known[place], starts[place]


def last_effect(request: Request, faults: Sequence[Fault], limits: Limits) -> float:
    """When a request without an answer can have been carried out at the latest: what stands still does not expire."""
    until = request.ended + limits.late
    for fault in sorted(faults, key=lambda one: one.start):
        if fault.kind == "starved" and request.ended < fault.end and fault.start < until:
            until += fault.end - max(fault.start, request.ended)
    return until


def _fits(request: Request, event: StreamEvent) -> bool:
    """Whether a request asks for what an event tells."""
    if request.kind != CAUSES[event.reason]:
        return False
    return request.kind != "beat" or STATUS[request.what] == event.new


def _deaths(
    requests: Sequence[Request],
    events: Sequence[StreamEvent],
    gaps: Sequence[tuple[int, int]],
    verdict: Verdict,
    limits: Limits,
) -> None:
    """Nobody dies within timeout + grace of a heartbeat that was acknowledged before; how late the others are found."""
    beats = [r for r in requests if r.kind == "beat" and r.outcome == "acknowledged"]
    ends = [request.ended for request in beats]
    starts = [request.started for request in requests]
    for event in events:
        if event.type != "monitor.dead":
            continue
        verdict.deaths += 1
        before = bisect.bisect_left(ends, event.at - TICK)
        allowed = event.timeout + event.grace
        if not before:
            continue
        last = beats[before - 1]
        known = [gap for gap in gaps if gap[1] <= event.at]
        due = credited(last.started, allowed, known)
        blind = any(start < event.at < end and due > start + limits.stamped_within for start, end in gaps)
        if blind or event.at < due - TICK:
            late = event.at - last.started
            words = ", while nobody listened" if blind else ""
            verdict.false_deaths.append(
                f"{event.id}: {late:.0f} ms after a heartbeat, allowed {allowed}{words}"
            )
        others = bisect.bisect_right(starts, event.at) - bisect.bisect_right(starts, last.started)
        if not others:  # else another request may have moved the deadline
            lag = max(0.0, event.at - credited(last.ended, allowed, known))
            verdict.deaths_lags.append((event.at, lag))


def credited(beat: float, allowed: float, gaps: Sequence[tuple[int, int]]) -> float:
    """The deadline after a heartbeat: a time when nobody listened that touches it starts it anew. Pure."""
    deadline = beat + allowed
    for start, end in sorted(gaps, key=lambda gap: gap[1]):
        if end > beat and start < deadline:
            deadline = max(deadline, end + allowed)
    return deadline


@dataclass(slots=True)
class _Span:
    """The timeouts that a monitor may have at a time, in ms."""

    low: float = math.inf
    high: float = 0.0


def _allowances(requests: Sequence[Request], events: Sequence[StreamEvent]) -> list[_Span]:
    """For each request, between which values timeout + grace lies after it, by the events and edits until the next."""
    spans = []
    current = _Span()
    at = [event.at for event in events]
    for index, request in enumerate(requests):
        until = requests[index + 1].started if index + 1 < len(requests) else math.inf
        known = events[max(0, bisect.bisect_left(at, request.started) - 1) : bisect.bisect_right(at, until)]
        values = [float(event.timeout + event.grace) for event in known]
        span = _Span(min([current.low, *values]), max([current.high, *values]))
        if request.kind == "edit" and request.outcome != "refused":
            span = _Span(min(span.low, float(request.what)), max(span.high, float(request.what)))
        spans.append(span)
        current = _Span(values[-1], values[-1]) if values else span
    return spans


def _silences(
    requests: Sequence[Request],
    events: Sequence[StreamEvent],
    timeline: Timeline,
    facts: Facts,
    verdict: Verdict,
    limits: Limits,
) -> None:
    """After an acknowledged heartbeat and a silence past every deadline there is a death, in time."""
    deaths = [event.at for event in events if event.type == "monitor.dead"]
    spans = _allowances(requests, events)
    for index, request in enumerate(requests):
        if request.kind != "beat" or request.outcome != "acknowledged":
            continue
        until = requests[index + 1].started if index + 1 < len(requests) else facts.ended
        earlier = requests[max(0, index - 5) : index]
        unsure = [one for one in earlier if one.outcome == "indeterminate"]
        if any(last_effect(one, facts.faults, limits) > request.started for one in unsure):
            continue  # one of them may count after this one
        deadline = credited(request.ended, spans[index].high, facts.gaps_of(request.monitor))
        if until <= deadline + limits.found_within or "paused" in timeline.during(request.started, until):
            continue
        verdict.silences += 1
        earliest = request.started + spans[index].low
        if not any(earliest - TICK <= at <= until for at in deaths):
            verdict.missed.append(f"{request.monitor}: silent since {request.ended:.0f}, due {deadline:.0f}")
