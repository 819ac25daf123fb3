"""Thousands of healthy clients in one process: each beats at its own period and phase and never retries.

A death among them is false, unless the client itself was late: this process shares its machine with what it tests,
so each client's own times decide.
"""

import asyncio
import heapq
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chaos.history import StreamEvent, now_ms
from chaos.wire import Wire
from shared import monitors
from shared.connection import Store
from shared.monitors import NewMonitor

MADE_TOGETHER = 50
ROUNDED = 1.0
"""Milliseconds: the server counts in whole ones, cut off, so a heartbeat may seem to be that much older than it is."""
LEAST_SLACK = 0.15
"""The part of its allowed silence that a client always leaves to the network."""


@dataclass(slots=True)
class Member:
    """One client and its monitor. Durations in seconds; `sent` and `acknowledged` are ms since the epoch.

    A beat is sent when it is written, or finds nobody listening: not when this process means to do so, for while it is
    short of a core a connection may take it a tenth of a second.
    """

    id: str
    token: str
    timeout: float
    grace: float
    period: float
    sent: list[float] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)
    silenced: float | None = None

    @property
    def allowed(self) -> float:
        """Silence in ms after which its monitor is dead."""
        return (self.timeout + self.grace) * 1000

    def was_late(self, until: float) -> bool:
        """Whether the client itself let more than the allowed silence pass between two beats before `until` (ms)."""
        times = [at for at in self.sent if at <= until]
        steps = zip(times, [*times[1:], until], strict=True)
        return not times or any(later - earlier > self.allowed - ROUNDED for earlier, later in steps)


class Fleet:
    """The clients; `make` them, `begin`, and `end`. `silence` lets some of them die."""

    def __init__(self, store: Store, wire: Wire, rng: random.Random) -> None:
        self.members: list[Member] = []
        self._store = store
        self._wire = wire
        self._rng = rng
        self._task: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def make(
        self, count: int, timeout: tuple[float, float], *, grace: float = 0.0, slack: float = 0.0
    ) -> None:
        """Creates monitors that tell nobody, with timeouts in this range and graces up to `grace` (s).

        Each client leaves `slack` seconds of its allowed silence at least.
        """
        for start in range(0, count, MADE_TOGETHER):
            part = range(start, min(count, start + MADE_TOGETHER))
            self.members += await asyncio.gather(
                *(self._make(number, timeout, grace, slack) for number in part)
            )

    async def _make(self, number: int, timeout: tuple[float, float], grace: float, slack: float) -> Member:
        allowed, extra = round(self._rng.uniform(*timeout), 3), round(self._rng.uniform(0, grace), 3)
        period = (allowed + extra) * self._rng.uniform(0.35, 1 - LEAST_SLACK)
        period = min(period, allowed + extra - slack)
        new = NewMonitor(
            f"healthy {number}", timeout=round(allowed * 1000), grace=round(extra * 1000), channels=""
        )
        made, token = await monitors.create(self._store, new)
        return Member(made.id, token, allowed, extra, period)

    def begin(self) -> None:
        """Each client beats from a random moment of its first period on."""
        self._task = asyncio.create_task(self._beat_all())

    async def end(self) -> None:
        """No client beats any more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, *self._under_way, return_exceptions=True)
            self._task = None

    def silence(self, some: Iterable[Member]) -> None:
        """These never beat again: from the answer to the beat under way on, which takes no longer than a second."""
        for member in some:
            member.silenced = now_ms()

    async def _beat_all(self) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        order = [(start + self._rng.uniform(0, one.period), index) for index, one in enumerate(self.members)]
        heapq.heapify(order)
        while order:
            at, index = order[0]
            member = self.members[index]
            if at > loop.time():
                await asyncio.sleep(at - loop.time())
            if member.silenced is not None:
                heapq.heappop(order)
                continue
            heapq.heapreplace(order, (at + member.period, index))
            task = asyncio.create_task(self._beat(member))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _beat(self, member: Member) -> None:
        def sending() -> None:
            member.sent.append(now_ms())

        if await self._wire.post(f"/api/heartbeat/{member.token}", sending=sending) == 200:
            member.acknowledged.append(now_ms())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a fleet.

    `false` deaths are of clients that beat in time, `late_clients` died because they were late themselves; `missed`
    are the ids of those that fell silent and nobody noticed, `lags` of the others the ms after their deadline.
    """

    false: list[StreamEvent]
    late_clients: list[StreamEvent]
    missed: list[str]
    lags: list[float]


def judge(
    members: Sequence[Member], events: Sequence[StreamEvent], gaps: Sequence[tuple[int, int]] = ()
) -> Verdict:
    """Compares deaths with what the clients did. Pure.

    The deadline of a silenced one counts from its last acknowledged beat, or from the end of a gap after it.
    """
    by_monitor: dict[str, list[StreamEvent]] = {}
    for event in events:
        if event.type == "monitor.dead":
            by_monitor.setdefault(event.monitor, []).append(event)
    verdict = Verdict([], [], [], [])
    for member in members:
        deaths = by_monitor.get(member.id, [])
        for death in deaths:
            if member.silenced is not None and death.at >= member.silenced:
                continue
            (verdict.late_clients if member.was_late(death.at) else verdict.false).append(death)
        if member.silenced is None:
            continue
        last = max(member.acknowledged, default=0.0)
        base = max([last, *(end for start, end in gaps if end > last and start < last + member.allowed)])
        real = [death.at for death in deaths if death.at >= member.silenced]
        if real:
            verdict.lags.append(real[0] - base - member.allowed)
        else:
            verdict.missed.append(member.id)
    return verdict
