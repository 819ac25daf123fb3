"""Gathers concurrent heartbeats into one script call per shard: what makes ingest cheap."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import get_args

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError

from shared import metrics, scripts
from shared.connection import Store, is_away
from shared.scripts import IGNORED, Beat, Kind

BATCH = 32
"""Heartbeats in one call. Redis takes 0.5 ms for as many of monitors that are well, and some 2 ms when each changes its
status; and while it is at one batch, the next one is read and the last one answered."""

IN_FLIGHT = 4
"""Calls under way per shard."""

WAITING = 20_000
"""Heartbeats that may wait per shard: a second of what a process takes. Memory stays bounded, and a client is better
off with an answer now than with one after it has gone."""

log = structlog.get_logger(__name__)

Outcome = int | Exception
"""The script's answer for one heartbeat, or the error that kept it from Redis."""

Waiting = tuple[Beat, Callable[[Outcome], None]]

RECORDED = {kind: metrics.HEARTBEATS.labels(kind) for kind in get_args(Kind)}


def _count(batch: Sequence[Waiting], answers: Sequence[int]) -> None:
    """Counts a batch at once: one increment per heartbeat would cost a tenth of its whole time."""
    counts = Counter(beat.kind for (beat, _), answer in zip(batch, answers, strict=True) if answer > 0)
    for kind, count in counts.items():
        RECORDED[kind].inc(count)
    if ignored := answers.count(IGNORED):
        metrics.HEARTBEATS_IGNORED.inc(ignored)


class Batcher:
    """Hands heartbeats to Redis together and each caller its own answer.

    A heartbeat waits for the end of the loop turn it arrived in, or for a place among the calls under way; under load
    that is when the batches grow, by themselves. When a call finds Redis away, all who wait are told so at once:
    none waits longer than one call may take, and none is recorded long after its client gave up.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[int, deque[Waiting]] = {}
        self._taken: Counter[int] = Counter()
        self._in_flight: dict[int, int] = {}
        self._scheduled: set[int] = set()
        self._calls: dict[int, set[asyncio.Task[None]]] = {}

    def submit(self, beat: Beat) -> asyncio.Future[int]:
        """A future of the script's answer for this heartbeat, or of the error that kept it from Redis."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if future.done():  # cancelled: its client has gone
                return
            if isinstance(outcome, int):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

        self.add(beat, done)
        return future

    def add(self, beat: Beat, done: Callable[[Outcome], None]) -> None:
        """Takes a heartbeat; `done` is called once, with its outcome, and must not raise."""
        shard = beat.monitor.shard
        queue = self._waiting.get(shard)
        if queue is None:
            queue = self._waiting[shard] = deque()
            self._in_flight[shard] = 0
            self._calls[shard] = set()
        if len(queue) >= WAITING:
            done(RedisConnectionError("too many heartbeats wait for the store"))
            return
        queue.append((beat, done))
        if shard not in self._scheduled and self._in_flight[shard] < IN_FLIGHT:
            self._scheduled.add(shard)
            asyncio.get_running_loop().call_soon(self._flush, shard)

    def _flush(self, shard: int) -> None:
        self._scheduled.discard(shard)
        queue = self._waiting[shard]
        while queue and self._in_flight[shard] < IN_FLIGHT:
            batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
            self._taken[shard] += len(batch)
            self._in_flight[shard] += 1
            call = asyncio.get_running_loop().create_task(self._call(shard, batch))
            self._calls[shard].add(call)
            call.add_done_callback(self._calls[shard].discard)

    async def _call(self, shard: int, batch: list[Waiting]) -> None:
        metrics.BATCH_SIZE.observe(len(batch))
        started = time.perf_counter()
        try:
            answers = await scripts.beat(self._store.redis, shard, [beat for beat, _ in batch])
        except Exception as error:  # noqa: BLE001 - each caller gets it and answers 503 or 500
            if is_away(error):
                batch += self._waiting[shard]
                self._taken[shard] += len(self._waiting[shard])
                self._waiting[shard].clear()
            log.warning("heartbeats not accepted", shard=shard, count=len(batch), error=str(error))
            for _, done in batch:
                done(error)
        else:
            metrics.BATCH_SECONDS.observe(time.perf_counter() - started)
            _count(batch, answers)
            for (_, done), answer in zip(batch, answers, strict=True):
                done(answer)
        finally:
            self._in_flight[shard] -= 1
            self._flush(shard)

    async def settled(self, shard: int) -> None:
        """Waits until each heartbeat that is here now has its outcome; who comes meanwhile is not waited for."""
        if shard not in self._waiting:
            return
        calls, goal = self._calls[shard], self._taken[shard] + len(self._waiting[shard])
        while self._taken[shard] < goal:
            if calls:
                await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)
        if calls:
            await asyncio.wait(set(calls))

    async def drain(self) -> None:
        """Waits until nothing is under way; for the end of the process."""
        while calls := set().union(*self._calls.values()):
            await asyncio.wait(calls)
