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

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from chaos import lives
from chaos.history import Facts, Fault, Receipt, Request, StreamEvent
from chaos.verdict import TICK, Limits, Verdict

FORGETTING = ("redis", "machine")
"""Faults by which it may be forgotten which digest a delivery was in: Redis lost its last writes, or a receiver
answered when its sender had given up and written a failure down."""

__all__ = ["Excuses", "Limits", "Verdict", "expected", "judge", "wanted"]


def judge(facts: Facts, limits: Limits = Limits()) -> Verdict:  # noqa: B008 - it is frozen
    """Everything that can be said of a history."""
    verdict = Verdict(vanished=list(facts.vanished))
    _application_events(facts, verdict)
    _deliveries(facts, verdict, limits)
    for monitor, (requests, events) in _by_monitor(facts).items():
        lives.judge(monitor, requests, events, facts, verdict, limits)
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
    _settle_unlisted(facts, verdict)
    gone = set(facts.vanished)
    queue.unexpected = [
        " ".join(pair)
        for pair in received
        if pair not in due and pair[1] not in gone and pair[0] in facts.subscriptions
    ]
    excuses = Excuses(facts.faults, limits)
    claims = {(letter.target, letter.event): letter for letter in facts.letters}
    for pair, copies in received.items():
        _duplicates(pair, sorted(copies, key=lambda copy: copy.at), excuses, verdict)
        told = sum(200 <= copy.answered <= 299 for copy in copies)
        letter = claims.get(pair)
        # An attempt that was recorded as failed may have arrived as well.
        if letter and letter.epoch and told - 1 > letter.taken_back + letter.attempt - 1:
            verdict.beyond.append(
                f"{' '.join(pair)}: came {told} times, taken back {letter.taken_back} times"
            )
    verdict.repeated = sum(count - 1 for count in _messages(facts).values())


def _messages(facts: Facts) -> Counter[tuple[str, str]]:
    """How often each message was taken by its receiver."""
    return Counter(
        (receipt.target, receipt.message) for receipt in facts.receipts if 200 <= receipt.answered <= 299
    )


def _settle_unlisted(facts: Facts, verdict: Verdict) -> None:
    """What nobody named is not lost when digests to that target had room for it and the ledger ended all of it."""
    unlisted = {
        (receipt.target, receipt.message): receipt.unlisted
        for receipt in sorted(facts.receipts, key=lambda receipt: receipt.unlisted)
        if 200 <= receipt.answered <= 299
    }
    room = Counter[str]()
    for (target, _), count in unlisted.items():
        room[target] += count
    missing = Counter(pair.partition(" ")[0] for pair in verdict.deliveries.lost)
    uneven = {line.partition(": ")[0] for line in verdict.miscounted}
    covered = {
        target
        for target, count in missing.items()
        if target in facts.counts and target not in uneven and count <= room[target]
    }
    verdict.unlisted = sum(missing[target] for target in covered)
    queue = verdict.deliveries
    queue.lost = [pair for pair in queue.lost if pair.partition(" ")[0] not in covered]


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

    def excuse(self, target: str, first: Receipt, second: Receipt) -> list[Fault]:
        """The faults that fell between the sending of the first copy and its record."""
        return [
            fault
            for fault in self._by_kind[target.partition(":")[0]]
            if fault.start - self._limits.record_within <= first.at <= fault.end + self._limits.reach_within
            and second.at >= fault.start - TICK
        ]


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
        faults = excuses.excuse(pair[0], first, second)
        if faults:
            verdict.excused += 1
        else:
            verdict.deliveries.duplicated.append(" ".join(pair))
        if first.message == second.message:
            continue
        digest = "digest" in (first.type, second.type)
        if digest and any(fault.name.startswith(FORGETTING) for fault in faults):
            verdict.regrouped += 1
        else:
            verdict.other_ids.append(f"{' '.join(pair)}: {first.message}, then {second.message}")
