"""Judges a history. Pure: facts go in, a verdict comes out, and `tests/unit/test_chaos_checker.py` shows it failing.

Two queues are judged in the manner of Jepsen's total-queue: application events (a request puts one in, the stream
gives it out) and deliveries (an event and a matching target put one in, a receiver gets it). On top of that every
monitor's history has to make sense:

- its generations have no hole and none twice, and each event's old status is the one before it;
- an acknowledged heartbeat counts: its status was reached while the request was under way;
- nobody is declared dead within the timeout of an acknowledged heartbeat;
- a silence longer than the timeout ends in death, soon;
- each heartbeat's event has a request that can have caused it.

Requests of one monitor are made one after another, and Redis and the campaign read the same clock, so a request was
carried out between its start and its end.
"""

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from chaos.history import Facts, Fault, Receipt, Request, StreamEvent

STATUS: Final = {"ok": "alive", "warning": "warning", "error": "error"}
TICK: Final = 2.0
"""Ms by which two readings of the clock may differ: Redis counts whole milliseconds."""
LATE: Final = 10_000.0
"""Ms after which a request without an answer can have no effect any more, nothing being stalled that long."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed. Ms.

    A silence that lasted `found_within` beyond its deadline must have been found. A duplicate is excused by a fault of
    the process that delivers when the earlier copy came at most `record_within` before it or `reach_within` after it
    began. A time when nobody listened excuses silence from its start, up to `stamped_within`: what the clock of the
    newest stamp can be behind.
    """

    found_within: float = 5_000.0
    record_within: float = 2_000.0
    reach_within: float = 2_000.0
    """What was on its way is noted by a receiver that shares its two cores with a dozen processes: 0.8 s was seen."""
    late: float = LATE
    stamped_within: float = 5.0


@dataclass(slots=True)
class Queue:
    """Jepsen's total-queue: what was put in against what came out, as ids."""

    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    """Not acknowledged, and there all the same."""
    indeterminate: list[str] = field(default_factory=list)
    """Not acknowledged, and not there."""


@dataclass(slots=True)
class Verdict:
    """What the checker found; the lists name what is wrong."""

    events: Queue = field(default_factory=Queue)
    deliveries: Queue = field(default_factory=Queue)
    dead_letters: int = 0
    unfinished: list[str] = field(default_factory=list)
    excused: int = 0
    """Duplicates that a fault between sending and recording explains."""
    regrouped: int = 0
    """Excused duplicates of which one copy at least was in a digest: that is a message of its own, with its own id."""
    other_ids: list[str] = field(default_factory=list)
    """Duplicates that came under another id than the first copy."""
    miscounted: list[str] = field(default_factory=list)
    """Targets whose ledger ended more or fewer deliveries than there were: a result was accepted twice, or made up."""
    transitions: int = 0
    holes: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    broken_chains: list[str] = field(default_factory=list)
    beats: int = 0
    beats_lost: list[str] = field(default_factory=list)
    false_deaths: list[str] = field(default_factory=list)
    deaths: int = 0
    silences: int = 0
    missed: list[str] = field(default_factory=list)
    deaths_lags: list[tuple[float, float]] = field(default_factory=list)
    """Per death of which the deadline is known: when, and how many ms after the deadline."""
    uncaused: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)

    @property
    def lags(self) -> list[float]:
        return [lag for _, lag in self.deaths_lags]


def judge(facts: Facts, limits: Limits = Limits()) -> Verdict:
    """Everything that can be said of a history."""
    verdict = Verdict(vanished=list(facts.vanished))
    _application_events(facts, verdict)
    _deliveries(facts, verdict, limits)
    monitors = _by_monitor(facts)
    for monitor, (requests, events) in monitors.items():
        _generations(monitor, events, verdict)
        timeline = Timeline(events)
        _beats(requests, timeline, verdict)
        _causes(requests, events, verdict, limits)
        _deaths(requests, events, facts.gaps, verdict, limits)
        _silences(requests, events, timeline, facts, verdict, limits)
    return verdict


def _by_monitor(facts: Facts) -> dict[str, tuple[list[Request], list[StreamEvent]]]:
    found: dict[str, tuple[list[Request], list[StreamEvent]]] = defaultdict(lambda: ([], []))
    for request in facts.requests:
        if request.monitor:
            found[request.monitor][0].append(request)
    for event in facts.events:
        if event.monitor:
            found[event.monitor][1].append(event)
    for requests, _ in found.values():
        requests.sort(key=lambda request: request.started)
    return found


def _application_events(facts: Facts, verdict: Verdict) -> None:
    """An event that was acknowledged is in the stream, once."""
    tried: dict[str, bool] = {}
    for request in facts.requests:
        if request.kind == "event" and request.outcome != "refused":
            tried[request.what] = tried.get(request.what, False) or request.outcome == "acknowledged"
    own = Counter(event.id for event in facts.events if not event.id.startswith("mp."))
    queue = verdict.events
    queue.acknowledged = sum(tried.values())
    queue.lost = [name for name, acknowledged in tried.items() if acknowledged and name not in own]
    queue.unexpected = [name for name in own if name not in tried]
    queue.duplicated = [name for name, count in own.items() if count > 1]
    queue.recovered = [name for name, acknowledged in tried.items() if not acknowledged and name in own]
    queue.indeterminate = [
        name for name, acknowledged in tried.items() if not acknowledged and name not in own
    ]


def wanted(pattern: str, kind: str) -> bool:
    """Whether a subscription's pattern takes a type; written anew here, so that the product does not judge itself."""
    if pattern == "*":
        return True
    return kind.startswith(pattern[:-1]) if pattern.endswith(".*") else pattern == kind


def expected(event: StreamEvent, subscriptions: Mapping[str, Iterable[str]]) -> list[str]:
    """The targets that have to hear of an event."""
    found = []
    for target, patterns in subscriptions.items():
        if event.about == target or not any(wanted(pattern, event.type) for pattern in patterns):
            continue
        kind, _, number = target.partition(":")
        listed = event.channels if event.monitor else "*"
        if kind == "webhook" or listed == "*" or number in listed.split(","):
            found.append(target)
    return found


def _deliveries(facts: Facts, verdict: Verdict, limits: Limits) -> None:
    """Each event reached each matching target or is a dead letter there; what came twice has an excuse."""
    received: dict[tuple[str, str], list[Receipt]] = defaultdict(list)
    for receipt in facts.receipts:
        for event in receipt.events:
            received[receipt.target, event].append(receipt)
    letters = {
        (letter.target, letter.event): letter for letter in facts.letters if letter.status != "success"
    }
    queue = verdict.deliveries
    due = set()
    for fact in facts.events:
        for target in expected(fact, facts.subscriptions):
            pair = (target, fact.id)
            due.add(pair)
            queue.acknowledged += 1
            if any(200 <= receipt.answered <= 299 for receipt in received.get(pair, ())):
                continue
            letter = letters.get(pair)
            if letter is None:
                queue.lost.append(" ".join(pair))
            elif letter.status == "failed":
                verdict.dead_letters += 1
            else:
                verdict.unfinished.append(" ".join(pair))
    due_of = Counter(target for target, _ in due)
    left = Counter(letter.target for letter in facts.letters if letter.status in ("pending", "sending"))
    verdict.miscounted = [
        f"{target}: {facts.counts[target]} ended, {due_of[target]} due, {left[target]} pending"
        for target in facts.counts
        if facts.counts[target] + left[target] != due_of[target]
    ]
    gone = set(facts.vanished)
    queue.unexpected = [
        " ".join(pair)
        for pair in received
        if pair not in due and pair[1] not in gone and pair[0] in facts.subscriptions
    ]
    excuses = Excuses(facts.faults, limits)
    for pair, copies in received.items():
        _duplicates(pair, sorted(copies, key=lambda copy: copy.at), excuses, verdict)


class Excuses:
    """Faults by what they can have made a duplicate of."""

    def __init__(self, faults: Sequence[Fault], limits: Limits) -> None:
        self._limits = limits
        self._by_kind = {
            kind: sorted(
                (fault for fault in faults if fault.kind != "terminate" and _concerns(fault, service)),
                key=lambda fault: fault.start,
            )
            for kind, service in (("channel", "notifier"), ("webhook", "webhooks-worker"))
        }

    def excuse(self, target: str, first: Receipt, second: Receipt) -> bool:
        """Whether a fault fell between the sending of the first copy and its record."""
        faults = self._by_kind[target.partition(":")[0]]
        return any(
            fault.start - self._limits.record_within <= first.at <= fault.end + self._limits.reach_within
            and second.at >= fault.start - TICK
            for fault in faults
        )


def _concerns(fault: Fault, service: str) -> bool:
    name = fault.name.partition("#")[0]
    return name == service or name not in (
        *("collector", "watchdog", "notifier", "webhooks", "webhooks-worker", "admin"),
    )


def _duplicates(pair: tuple[str, str], copies: list[Receipt], excuses: Excuses, verdict: Verdict) -> None:
    """A copy after a successful one is a duplicate: it needs an excuse and the same id."""
    for first, second in pairwise(copies):
        if not 200 <= first.answered <= 299:
            continue
        if excuses.excuse(pair[0], first, second):
            verdict.excused += 1
        else:
            verdict.deliveries.duplicated.append(" ".join(pair))
        if first.message != second.message and "digest" in (first.type, second.type):
            verdict.regrouped += 1
        elif first.message != second.message:
            verdict.other_ids.append(f"{' '.join(pair)}: {first.message}, then {second.message}")


def generation(event: StreamEvent) -> int:
    """The number at the end of a monitor event's id."""
    return int(event.id.rpartition(".")[2])


def _generations(monitor: str, events: list[StreamEvent], verdict: Verdict) -> None:
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
    requests: Sequence[Request], events: Sequence[StreamEvent], verdict: Verdict, limits: Limits
) -> None:
    """Each event that a client caused has its request; one request causes one event."""
    # Those that were acknowledged first: they are known to have been carried out while they were under way.
    free = sorted(
        (request for request in requests if request.outcome != "refused"),
        key=lambda request: (request.outcome != "acknowledged", request.started),
    )
    for event in events:
        kind = CAUSES.get(event.reason)
        if kind is None:
            continue
        for request in free:
            until = request.ended if request.outcome == "acknowledged" else request.ended + limits.late
            fits = request.kind == kind and (kind != "beat" or STATUS[request.what] == event.new)
            if fits and request.started - TICK <= event.at <= until + TICK:
                free.remove(request)
                break
        else:
            verdict.uncaused.append(f"{event.id} {event.reason} at {event.at}")


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
        others = any(last.started < request.started <= event.at for request in requests)
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
        if any(r.outcome == "indeterminate" and r.ended + limits.late > request.started for r in earlier):
            continue  # one of them may count after this one
        deadline = credited(request.ended, spans[index].high, facts.gaps)
        if until <= deadline + limits.found_within or "paused" in timeline.during(request.started, until):
            continue
        verdict.silences += 1
        earliest = request.started + spans[index].low
        if not any(earliest - TICK <= at <= until for at in deaths):
            verdict.missed.append(f"{request.monitor}: silent since {request.ended:.0f}, due {deadline:.0f}")
