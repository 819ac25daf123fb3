"""arq as the executor of deliveries, and the life of a worker process.

arq brings the hint "there is something for these targets" to some worker fast. It decides nothing: its jobs, retries
and results mean nothing to a delivery, and an emptied queue costs latency only (`shared.scheduler`).
"""

import asyncio
import contextlib
import itertools
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Final

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker, func

from shared import keys, metrics, scheduler, workers
from shared.client import Client
from shared.connection import Store, connection_pool
from shared.pump import Observer, Pump, Sender, unobserved

GROUPS: Final = {"channel": "notifier", "webhook": "webhooks"}
"""A kind of target → the service that delivers to it; its consumer group and its arq queue are named alike."""
TARGETS_PER_JOB: Final = 32
"""A job costs arq some ten commands: 1,000 targets in 32 jobs cost a tenth of what 1,000 jobs would."""
POLL_DELAY: Final = 0.02
HINT_EVERY: Final = 0.05
"""Seconds from one hint of a process to its next."""
MAX_JOBS: Final = 500
JOB_WAIT: Final = 5.0
"""Seconds that a job waits for its pumps, so that busy workers take fewer jobs; the pumps go on without it."""
JOB_TIMEOUT: Final = 30
MAX_TRIES: Final = 100
"""A job is run again when its worker is stopped, so that another has the hint at once; deploys must not use it up."""
JOB_EXPIRES: Final = 60
"""Seconds; by then the scheduler has long found what the hint was about."""
STOP_GRACE: Final = 3.0
"""Seconds that sends under way get when a worker stops; then their claims are given back."""
LONGEST_PAUSE: Final = 2.0

log = structlog.get_logger(__name__)


def queue_name(kind: str) -> str:
    """The arq queue of a kind of target."""
    return f"mp:{GROUPS[kind]}"


class _Queue(Client, ArqRedis):  # type: ignore[misc]  # redis-py types one method of both in two ways
    """arq's client with our pipeline."""


def open_queue(url: str, kind: str) -> ArqRedis:
    """A client of the arq queue at `url` for targets of `kind`; nothing is sent before the first command."""
    connections = connection_pool(url, socket_timeout=5, socket_connect_timeout=2)
    pool = _Queue(connections, dump, json.loads, queue_name(kind))
    pool.auto_close_connection_pool = True
    return pool


def dump(job: dict[str, Any]) -> bytes:
    """A job as JSON: pickle would let whoever can write to the queue run code here."""
    return json.dumps(job, default=repr).encode()


RUN: Final = secrets.token_hex(6)
COUNTER: Final = itertools.count()
"""Together they make job ids that are never used twice, so no leftover of a killed job blocks a later one."""


async def hint(pool: ArqRedis, targets: Iterable[str]) -> None:
    """Tells some worker that these targets have something due. Call it after the deliveries are created.

    Never raises for an absent Redis: the scheduler finds them within a second.
    """
    unique = list(dict.fromkeys(targets))
    try:
        for start in range(0, len(unique), TARGETS_PER_JOB):
            part = unique[start : start + TARGETS_PER_JOB]
            await pool.enqueue_job("pump", part, _job_id=f"{RUN}:{next(COUNTER)}", _expires=JOB_EXPIRES)
    except Exception as error:  # noqa: BLE001 - a hint may be lost
        scheduler.complain("queue.hint_lost", error)


class Waker:
    """Tells of targets that have something due: the pump of this process at once, the other workers by arq.

    arq looks at its queue every `POLL_DELAY`, half of which an alert would wait; the hint is sent all the same, for
    this worker may be busy. A job costs as much as ten deliveries, so what is due within `HINT_EVERY` of a hint goes
    into the next one together.
    """

    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool
        self._pump: Pump | None = None
        self._early: set[str] = set()
        self._others: dict[str, None] = {}
        self._hinting: asyncio.Task[None] | None = None

    def wake(self, targets: Sequence[str]) -> None:
        """Lets the pump look at these targets, at once or when there is one, and hints the others soon."""
        if self._pump:
            self._pump.wake(targets)
        else:
            self._early.update(targets)
        self._others |= dict.fromkeys(targets)
        if self._others and self._hinting is None:
            self._hinting = asyncio.create_task(self._hint())

    async def _hint(self) -> None:
        try:
            while self._others:
                targets, self._others = list(self._others), {}
                await hint(self._pool, targets)
                await asyncio.sleep(HINT_EVERY)
        finally:
            self._hinting = None

    @contextlib.contextmanager
    def of(self, pump: Pump) -> Iterator[None]:
        """Wakes `pump` until the block ends."""
        self._pump = pump
        pump.wake(self._early)
        self._early.clear()
        try:
            yield
        finally:
            self._pump = None

    async def stop(self) -> None:
        """Hints no more: the scheduler finds within a second what it leaves untold."""
        if self._hinting:
            self._hinting.cancel()
            await asyncio.gather(self._hinting, return_exceptions=True)


@contextlib.asynccontextmanager
async def waking(url: str, kind: str) -> AsyncIterator[Waker]:
    """A waker for targets of `kind`, whose hints go to the arq queue at `url`."""
    pool = open_queue(url, kind)
    waker = Waker(pool)
    try:
        yield waker
    finally:
        await waker.stop()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(pool.aclose(close_connection_pool=True), 1)


async def run_worker(  # noqa: PLR0913 - the one place where a worker is wired; most are named
    store: Store,
    queue_url: str,
    sender: Sender,
    *,
    kind: str,
    stop: asyncio.Event,
    digest: bool = False,
    observer: Observer = unobserved,
    label: Callable[[str], str] = keys.kind_of,
    most_sends: int = 0,
    waker: Waker | None = None,
) -> None:
    """Delivers to all targets of `kind` until `stop` is set, through any absence of Redis.

    1. The worker's key is there before anything is claimed, and renewed to the end.
    2. arq's hints, the scheduler and `waker` wake the pump.
    3. When stopped: nothing more is claimed, sends get `STOP_GRACE` to end, the rest is given back without an attempt,
       and the worker's key goes.
    """
    worker = f"{os.getpid()}-{secrets.token_hex(6)}"
    pump = Pump(store, worker, sender, digest=digest, observer=observer, label=label, most_sends=most_sends)
    group = GROUPS[kind]
    async with _running(_renew(store, worker)):
        await _first_sign(store, worker, stop)
        loops = [
            _serve(queue_url, kind, pump),
            _measure(queue_url, kind),
            scheduler.measure(store, kind, group),
        ]
        for shard in range(store.shards):
            loops.append(scheduler.wake_due(pump, shard, kind))
            loops.append(scheduler.reclaim(pump, shard, kind, group))
        try:
            with waker.of(pump) if waker else contextlib.nullcontext():
                async with _running(*loops):
                    log.info("worker.started", worker=worker, kind=kind)
                    await stop.wait()
        finally:
            await pump.stop(STOP_GRACE)
    with contextlib.suppress(Exception):
        await asyncio.wait_for(workers.retire(store, worker), 1)
    log.info("worker.stopped", worker=worker, kind=kind)


@contextlib.asynccontextmanager
async def _running(*loops: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Runs endless loops beside the body, and ends them with it."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _first_sign(store: Store, worker: str, stop: asyncio.Event) -> None:
    """Waits until the worker's key is there: a claim without it would be taken for an abandoned one."""
    while not stop.is_set():
        with contextlib.suppress(Exception):
            if await store.redis.exists(keys.worker(worker)):
                return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.05)


async def _renew(store: Store, worker: str) -> None:
    while True:
        try:
            await workers.renew(store, worker)
            await asyncio.sleep(workers.RENEW_EVERY)
        except Exception as error:  # noqa: BLE001 - the worker lives on
            scheduler.complain("worker.renew", error)
            await asyncio.sleep(workers.RENEW_EVERY / 8)


async def _serve(queue_url: str, kind: str, pump: Pump) -> None:
    """Keeps an arq worker running: it ends by itself when Redis is away for three seconds."""

    async def job(_: dict[Any, Any], targets: list[str]) -> None:
        lanes = pump.wake(targets)
        if lanes:
            await asyncio.wait(lanes, timeout=JOB_WAIT)

    pause = 0.1
    while True:
        worker = _arq_worker(queue_url, kind, job)
        began = asyncio.get_running_loop().time()
        try:
            await worker.async_run()
        except Exception as error:  # noqa: BLE001 - it is started again
            scheduler.complain("queue.worker_ended", error)
        finally:
            await _close(worker)
        lived = asyncio.get_running_loop().time() - began
        pause = 0.1 if lived > 10 * LONGEST_PAUSE else min(LONGEST_PAUSE, pause * 2)
        await asyncio.sleep(pause)


class _Executor(Worker):
    """arq's worker, knowing which jobs it is writing off: arq shields that from being cancelled, and forgets it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.finishing: set[asyncio.Future[None]] = set()

    async def finish_job(self, *arguments: Any, **options: Any) -> None:
        """As in arq, in a task that `_close` can wait for."""
        task = asyncio.ensure_future(super().finish_job(*arguments, **options))
        self.finishing.add(task)
        task.add_done_callback(self.finishing.discard)
        await task


def _arq_worker(queue_url: str, kind: str, job: Callable[..., Coroutine[Any, Any, None]]) -> _Executor:
    return _Executor(
        [func(job, name="pump")],
        queue_name=queue_name(kind),
        redis_pool=open_queue(queue_url, kind),
        handle_signals=False,
        max_jobs=MAX_JOBS,
        job_timeout=JOB_TIMEOUT,
        keep_result=0,
        poll_delay=POLL_DELAY,
        max_tries=MAX_TRIES,
        retry_jobs=True,
        job_serializer=dump,
        job_deserializer=json.loads,
        log_results=False,
    )


async def _close(worker: _Executor) -> None:
    """Ends what is left of an arq worker; Redis may be away, and no job of it matters."""
    for task in (*worker.tasks.values(), *worker.job_tasks.values()):
        task.cancel()
    if worker.main_task:
        worker.main_task.cancel()
    main = [worker.main_task] if worker.main_task else []
    await asyncio.gather(*worker.tasks.values(), *worker.job_tasks.values(), *main, return_exceptions=True)
    await asyncio.sleep(0)  # what arq shielded has begun by now
    if finishing := tuple(worker.finishing):
        await asyncio.wait(finishing, timeout=1)
        for unfinished in finishing:
            unfinished.cancel()
        await asyncio.gather(*finishing, return_exceptions=True)
    with contextlib.suppress(Exception):
        await asyncio.wait_for(worker.pool.aclose(close_connection_pool=True), 1)


async def _measure(queue_url: str, kind: str) -> None:
    """Publishes the queue's depth every few seconds, until cancelled."""
    pool = open_queue(queue_url, kind)
    try:
        while True:
            try:
                await depth(pool, kind)
            except Exception as error:  # noqa: BLE001 - a missing figure is no reason to stop
                metrics.count_redis_error(error)
            await asyncio.sleep(scheduler.MEASURE_EVERY)
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(pool.aclose(close_connection_pool=True), 1)


async def depth(pool: ArqRedis, kind: str) -> int:
    """How many jobs wait in the queue; also published as a metric."""
    waiting = int(await pool.zcard(queue_name(kind)))
    metrics.QUEUE_DEPTH.labels(GROUPS[kind]).set(waiting)
    return waiting
