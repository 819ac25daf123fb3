"""Works off what is due: claim, send, record, for any number of targets at once.

Each target has a lane of its own and each message a task of its own, so that one that hangs holds back no other;
claims and records of all lanes are gathered into few script calls. A lane lives while its target has something due
that may be claimed; who creates a delivery, and the scheduler of `shared.queue`, wake it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from shared import attempt_log, claims, delivery_upkeep, keys, orders, retry
from shared.claims import Claimed, Recorded, Result
from shared.connection import Store, is_away
from shared.deliveries import Delivery
from shared.errors import DeliveryError
from shared.gathering import Gatherer
from shared.orders import Want
from shared.retry import Decision, Outcome
from shared.sending_cap import SendingCap, default_capacity

SEND_LIMIT: Final = 60.0
"""Seconds; senders have deadlines of their own (15 s), this one ends a sender that forgot."""
REFILL_AT: Final = orders.IN_FLIGHT // 2
REFILL_WAIT: Final = 0.002
"""Seconds for further places to become free, so that one claim fills several; a claim costs as much as ten places."""
RECORDED_TOGETHER: Final = claims.RECORDS_PER_CALL
"""Members of a digest whose results are made at once, a quarter of a millisecond: a storm's has a hundred thousand."""
RECORD_PAUSE: Final = 0.5
RECORD_TRIES: Final = 5
"""For errors that waiting does not help; an absent Redis is waited for as long as it takes."""

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """What brings a message to its destination: one delivery, or all members of a digest."""

    async def send(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Returns what came of it or raises DeliveryError; any other error is retried like a failure."""


@dataclass(frozen=True, slots=True)
class Report:
    """A message that was recorded: of one delivery or of a digest's members, which share outcome and fate.

    `decisions` stand beside `deliveries`: members of a digest may have had a different number of attempts. `state` is
    the target after it.
    """

    target: str
    deliveries: Sequence[Delivery]
    outcome: Outcome
    decisions: Sequence[Decision]
    state: Recorded


Observer = Callable[[Report], Awaitable[None]]
"""Told of each recorded message: emits events, disables webhooks. What it raises is logged."""


async def unobserved(_: Report) -> None:
    """Observes nothing."""


@dataclass(slots=True)
class _Lane:
    """A target that is being worked on. `again`: it was woken since the last claim."""

    again: bool = True
    sending: int = 0
    freed: asyncio.Event = field(default_factory=asyncio.Event)


class Pump:
    """The lanes of one worker process. `digest` is for channels; `label` names a delivery's kind in metrics.

    `most_sends` caps the messages under way, 0 for as many as the process's open files allow.
    """

    def __init__(
        self,
        store: Store,
        worker: str,
        sender: Sender,
        *,
        digest: bool = False,
        observer: Observer = unobserved,
        label: Callable[[str], str] = keys.kind_of,
        most_sends: int = 0,
    ) -> None:
        self.store = store
        self.worker = worker
        self.held: set[tuple[str, int, int]] = set()
        """What this worker knows to hold: target, number, epoch."""
        self._sender = sender
        self._digest = digest
        self._observer = observer
        self._label = label
        self._cap = SendingCap(most_sends or default_capacity())
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sends: set[asyncio.Task[None]] = set()
        self._claiming: dict[int, Gatherer[Want, Claimed]] = {}
        self._recording: dict[int, Gatherer[Result, Recorded]] = {}
        self._trimming: set[str] = set()
        self._stopping = False

    def wake(self, targets: Iterable[str]) -> list[asyncio.Task[None]]:
        """Makes sure that a lane looks at each target; returns the tasks of lanes that this started."""
        started = []
        for target in targets:
            if target in self._lanes:
                self._lanes[target].again = True
                self._lanes[target].freed.set()
            elif not self._stopping:
                self._lanes[target] = _Lane()
                started.append(self._start(self._run(target), self._tasks))
        return started

    async def stop(self, grace: float) -> None:
        """Claims nothing more, lets sends end for `grace` seconds, then gives the rest back without an attempt."""
        self._stopping = True
        self._cap.close()
        for lane in self._lanes.values():
            lane.freed.set()
        if pending := self._tasks | self._sends:
            await asyncio.wait(pending, timeout=grace)
        for task in (*self._tasks, *self._sends):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._sends, return_exceptions=True)

    def _start(
        self, coroutine: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    async def _run(self, target: str) -> None:
        """One lane: claims and starts sends until nothing is due that could be claimed."""
        lane = self._lanes[target]
        try:
            while not self._stopping:
                lane.again = False
                places = await self._cap.take(target)
                if not places:
                    if not lane.sending:
                        return  # stopping, or an earlier lane's sends have them: the ledger wakes it in a second
                    await self._wait_for_places(lane)
                    continue
                claimed = await self._claim(target, places)
                if self._stopping:
                    await self._give_back(target, claimed.deliveries)
                    return
                self._send_all(target, lane, claimed)
                if claimed.full and lane.sending:
                    await self._wait_for_places(lane)
                elif not lane.again and (claimed.full or not claimed.more):
                    return
        except Exception as error:  # noqa: BLE001 - the ledger wakes the target again
            level = "warning" if is_away(error) else "error"
            getattr(log, level)("pump.lane_ended", target=target, error=repr(error))
        finally:
            del self._lanes[target]

    async def _claim(self, target: str, places: int) -> Claimed:
        """Claims at most `places` messages; those that no message takes are free again."""
        messages = 0
        try:
            claimed = await self._claims(target).ask(Want(target, places, digest=self._digest))
            messages = 1 if claimed.digest else len(claimed.deliveries)
            return claimed
        finally:
            if places > messages:
                self._cap.give_back(target, places - messages)

    async def _wait_for_places(self, lane: _Lane) -> None:
        """Until a place is free, and a moment longer while fewer than half are."""
        lane.freed.clear()
        await lane.freed.wait()
        if lane.sending > REFILL_AT:
            await asyncio.sleep(REFILL_WAIT)

    def _send_all(self, target: str, lane: _Lane, claimed: Claimed) -> None:
        for delivery in claimed.deliveries:
            self.held.add((target, delivery.number, delivery.epoch))
        singles = [[delivery] for delivery in claimed.deliveries]
        for message in [claimed.deliveries] if claimed.digest else singles:
            lane.sending += 1
            self._start(self._deliver(target, lane, message, claimed.bound), self._sends)

    async def _deliver(self, target: str, lane: _Lane, message: list[Delivery], bound: bool) -> None:
        """One message from its claim to its record; `bound`: it may have been sent before."""
        unheard = False
        try:
            if message[0].digest:
                await self._gather_members(target, message, bound)
                unheard = True
                if not await claims.seal(self.store, self.worker, message):
                    log.warning("pump.digest_taken", target=target, deliveries=len(message))
                    await self._give_back(target, message)
                    return
                message.sort(key=lambda member: member.number)  # a repetition reads like the first
            unheard, began = True, time.monotonic()
            outcome = await self._attempt(message)
            seconds = time.monotonic() - began
            self._cap.judge(target, well=outcome.ok, seconds=seconds)
            await self._record(target, message, outcome, seconds, bound)
        except asyncio.CancelledError:
            await self._give_back(target, message, unheard)
            raise
        except Exception:
            log.exception("pump.delivery_failed", target=target, deliveries=len(message))
        finally:
            self.held.difference_update((target, d.number, d.epoch) for d in message)
            lane.sending -= 1
            self._cap.give_back(target)
            lane.freed.set()

    async def _gather_members(self, target: str, message: list[Delivery], bound: bool) -> None:
        """Adds the rest of a digest's members, in batches, until it is drained."""
        digest = message[0].digest
        while members := await claims.claim_members(self.store, self.worker, target, digest, bound=bound):
            message += members
            self.held.update((target, d.number, d.epoch) for d in members)

    async def _attempt(self, message: Sequence[Delivery]) -> Outcome:
        try:
            async with asyncio.timeout(SEND_LIMIT):
                return await self._sender.send(message)
        except DeliveryError as error:
            return Outcome(
                error.status,
                error.body,
                str(error) or "failed",
                permanent=error.permanent,
                retry_after=error.retry_after,
                exact=error.exact,
                label=error.label,
            )
        except TimeoutError:
            return Outcome(error=f"no end within {SEND_LIMIT:.0f} s", label="timeout")
        except Exception as error:
            log.exception("pump.sender_failed", target=message[0].target, id=message[0].id)
            return Outcome(error=f"internal error: {type(error).__name__}")

    async def _record(
        self, target: str, message: Sequence[Delivery], outcome: Outcome, seconds: float, bound: bool
    ) -> None:
        jitter = random.uniform(1 - retry.JITTER, 1 + retry.JITTER)  # noqa: S311 - spreads load
        by_attempt = {
            attempt: retry.decide(attempt + 1, outcome, jitter) for attempt in {d.attempt for d in message}
        }
        # What is bound together goes on together: the newest member's turns must not use up the others' attempts.
        fewest = min(by_attempt)
        decisions = [by_attempt[fewest if bound else delivery.attempt] for delivery in message]
        at, label = round(time.time() * 1000), self._label(target)
        recorded: list[Recorded] = []
        for start in range(0, len(message), RECORDED_TOGETHER):
            part = slice(start, start + RECORDED_TOGETHER)
            results = [
                Result(
                    *(delivery, self.worker, fate.state, fate.delay_ms, fate.hold_ms, outcome),
                    at=at,
                    duration_ms=round(seconds * 1000),
                    counts=not index,
                )
                for index, (delivery, fate) in enumerate(
                    zip(message[part], decisions[part], strict=True), start
                )
            ]
            answers = await self._submit(target, results)
            attempt_log.count_ends(label, message[part], decisions[part], answers)
            recorded += answers
        attempt_log.tell(label, message, outcome, decisions, recorded, seconds)
        kept = [i for i, answer in enumerate(recorded) if answer.accepted]
        if kept:
            members, fates = [message[i] for i in kept], [decisions[i] for i in kept]
            await self._observe(Report(target, members, outcome, fates, recorded[-1]))
            await self._trim(target, recorded[-1].kept)

    async def _observe(self, report: Report) -> None:
        try:
            await self._observer(report)
        except Exception:
            log.exception("pump.observer_failed", target=report.target)

    async def _submit(self, target: str, results: Sequence[Result]) -> Sequence[Recorded]:
        """Records, for as long as Redis is away too: a send must not be forgotten."""
        for tries in range(1, 1_000_000):
            try:
                if len(results) == 1:
                    return [await self._records(target).ask(results[0])]
                return await claims.record(self.store, results)
            except Exception as error:
                if not is_away(error) and tries >= RECORD_TRIES:
                    raise
                log.warning("pump.record_waits", target=target, error=repr(error))
                await asyncio.sleep(RECORD_PAUSE)
        raise AssertionError("unreachable")

    async def _give_back(self, target: str, message: Sequence[Delivery], unheard: bool = False) -> None:
        """Ends claims without an attempt; `unheard`: they may have been sent."""
        if not message:
            return
        try:
            async with asyncio.timeout(1):
                await claims.record(
                    self.store,
                    [Result(delivery, self.worker, "release", unheard=unheard) for delivery in message],
                )
        except Exception as error:  # noqa: BLE001 - reclaimed when this worker's key is gone
            log.warning("pump.release_failed", target=target, error=repr(error))

    async def _trim(self, target: str, kept: int) -> None:
        """Drops old successes once they are many enough to be worth a call."""
        limit = delivery_upkeep.KEPT_SUCCESSES + delivery_upkeep.STEP // 2
        if kept > limit and target not in self._trimming:
            self._trimming.add(target)
            try:
                await delivery_upkeep.trim(self.store, target)
            finally:
                self._trimming.discard(target)

    def _claims(self, target: str) -> Gatherer[Want, Claimed]:
        shard = self.store.shard_of(target)
        if shard not in self._claiming:

            async def call(wants: Sequence[Want]) -> Sequence[Claimed]:
                return await claims.claim(self.store, self.worker, wants)

            self._claiming[shard] = Gatherer(call, claims.TARGETS_PER_CALL)
        return self._claiming[shard]

    def _records(self, target: str) -> Gatherer[Result, Recorded]:
        shard = self.store.shard_of(target)
        if shard not in self._recording:

            async def call(results: Sequence[Result]) -> Sequence[Recorded]:
                return await claims.record(self.store, results)

            self._recording[shard] = Gatherer(call, claims.RECORDS_PER_CALL)
        return self._recording[shard]
