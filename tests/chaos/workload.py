"""A seeded load through the real HTTP interface: beats, silences, errors, recoveries, pauses, edits and events.

Each monitor is driven by a program of its own, one request after another, as a real application is: so its history
has an order, and the checker can say what each acknowledged request must have done.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.exchange import Answer, Client
from chaos.history import History, Kind, Request
from chaos.receivers import Answer as Reply
from chaos.receivers import Receivers
from chaos.world import World

STATUSES: Final = ("ok", "warning", "error")
EVENT_TYPES: Final = ("order.placed", "order.paid", "user.created", "stock.low")
AFTER_REFUSAL: Final = 0.2
"""Seconds a program waits when nobody listens, as a careful one does."""
AT_ONCE: Final = 32
"""Monitors that are made at the same time: a thousand at once on a busy machine took longer than a request may."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to drive. Times in seconds, rates per second over all; parts are of all actions of a monitor.

    `webhooks` are event patterns. Monitors tell one of `channels` channels each, so that digests stay small enough to
    name all their members.
    """

    monitors: int = 100
    every: float = 1.0
    timeout: tuple[float, float] = (1.0, 3.0)
    silences: float = 0.05
    pauses: float = 0.01
    edits: float = 0.01
    statuses: tuple[float, float, float] = (0.4, 0.2, 0.4)
    events: float = 10.0
    retries: float = 0.7
    """The part of unanswered events that are sent again under the same id."""
    channels: int = 16
    channel_events: tuple[str, ...] = ("monitor.dead", "monitor.error", "monitor.recovered")
    webhooks: tuple[str, ...] = ("monitor.*", "order.*", "*")
    answers: dict[str, Reply] = field(default_factory=dict)
    """How receivers answer, by name: `channel-1` …, `webhook-1` …"""


@dataclass(slots=True)
class Driven:
    """One monitor as its program knows it; `timeout` in seconds."""

    id: str
    token: str
    timeout: float
    rng: random.Random
    paused: bool = False


class Workload:
    """Drives one installation; `set_up` once, then `run` as often as wanted."""

    def __init__(
        self, world: World, receivers: Receivers, history: History, load: Load, rng: random.Random
    ) -> None:
        self.load = load
        self.monitors: list[Driven] = []
        self.client = Client()
        self._world = world
        self._receivers = receivers
        self._history = history
        self._rng = rng
        self._seed = rng.randrange(1 << 30)
        self._sent = 0
        self._turn = 0
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def set_up(self) -> None:
        """Makes channels, webhooks and monitors, and lets each monitor be heard once."""
        channels = [await self._channel(number) for number in range(1, self.load.channels + 1)]
        for number, pattern in enumerate(self.load.webhooks, 1):
            await self._webhook(f"webhook-{number}", pattern)
        turns = asyncio.Semaphore(AT_ONCE)

        async def in_turn(number: int) -> None:
            async with turns:
                await self._monitor(number, channels)

        await asyncio.gather(*map(in_turn, range(len(self.monitors), self.load.monitors)))

    async def _channel(self, number: int) -> int:
        name = f"channel-{number}"
        document = {
            "name": name,
            "type": "webhook",
            "config": {"url": self._receivers.url(name)},
            "events": list(self.load.channel_events),
        }
        made = await self.client.need("POST", f"{self._world.url('admin')}/api/channels", document)
        self._know(name, f"channel:{made['id']}", self.load.channel_events)
        return int(made["id"])

    async def _webhook(self, name: str, pattern: str) -> None:
        document = {"name": name, "url": self._receivers.url(name), "event_type": pattern}
        made = await self.client.need("POST", f"{self._world.url('webhooks')}/webhooks", document)
        self._know(name, f"webhook:{made['id']}", (pattern,))

    def _know(self, name: str, target: str, patterns: tuple[str, ...]) -> None:
        self._receivers.known[name] = target
        self._history.facts.subscriptions[target] = patterns
        if name in self.load.answers:
            self._receivers.answers[name] = self.load.answers[name]

    async def _monitor(self, number: int, channels: list[int]) -> None:
        rng = random.Random(f"{self._seed}:{number}")
        timeout = round(rng.uniform(*self.load.timeout), 2)
        told = [channels[number % len(channels)]] if channels else []
        document = {"name": f"monitor {number}", "timeout": timeout, "channels": told}
        made = await self.client.need("POST", f"{self._world.url('admin')}/api/monitors", document)
        self.monitors.append(Driven(made["id"], made["token"], timeout, rng))

    def begin(self) -> None:
        """Starts every program; they go on until `end`."""
        self._stop.clear()
        self._tasks = [asyncio.create_task(self._drive(one)) for one in self.monitors]
        if self.load.events:
            self._tasks.append(asyncio.create_task(self._send_events()))

    async def end(self) -> None:
        """Lets every request under way end, and no other begin; resumes what is paused."""
        self._stop.set()
        for done in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(done, BaseException):
                raise done
        self._tasks = []

    async def run(self, seconds: float) -> None:
        """The load for so long."""
        self.begin()
        await asyncio.sleep(seconds)
        await self.end()

    async def pause(self, seconds: float) -> None:
        """Sleeps, but not beyond the end of the load."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass

    async def _drive(self, one: Driven) -> None:
        load, rng = self.load, one.rng
        await self.pause(rng.uniform(0, load.every))
        actions: list[tuple[float, Callable[[Driven], Awaitable[Answer | None]]]] = [
            (load.silences, self._fall_silent),
            (load.pauses, self._pause_and_resume),
            (load.edits, self._edit),
            (1.0, self._beat),
        ]
        while not self._stop.is_set():
            draw = rng.random()
            for part, action in actions:
                draw -= part
                if draw < 0 or part == 1.0:
                    answer = await action(one)
                    break
            refused = answer is not None and answer.outcome != "acknowledged"
            await self.pause(AFTER_REFUSAL if refused else load.every * rng.uniform(0.5, 1.5))

    def _collector(self) -> str:
        """The collectors in turn, as behind a load balancer that looks after nobody."""
        urls = self._world.urls("collector")
        self._turn += 1
        return urls[self._turn % len(urls)]

    async def _beat(self, one: Driven) -> Answer:
        (status,) = one.rng.choices(STATUSES, self.load.statuses)
        return await self.beat(one, status)

    async def beat(self, one: Driven, status: str) -> Answer:
        """One heartbeat; the message is always the same, so that a repeated error is no news."""
        url = f"{self._collector()}/api/heartbeat/{one.token}"
        return await self._send("beat", one.id, status, "POST", url, {"status": status})

    async def _fall_silent(self, one: Driven) -> None:
        await self.pause(one.timeout + one.rng.uniform(0.5, 2.0))

    async def _pause_and_resume(self, one: Driven) -> Answer:
        base = f"{self._world.url('admin')}/api/monitors/{one.id}"
        answer = await self._send("pause", one.id, "pause", "POST", f"{base}/pause")
        await self.pause(one.rng.uniform(0.2, 1.0))
        while True:
            answer = await self._send("resume", one.id, "resume", "POST", f"{base}/resume")
            if answer.outcome == "acknowledged" or self._stop.is_set():
                return answer
            await self.pause(AFTER_REFUSAL)

    async def _edit(self, one: Driven) -> Answer:
        timeout = round(one.rng.uniform(*self.load.timeout), 2)
        url = f"{self._world.url('admin')}/api/monitors/{one.id}"
        answer = await self._send("edit", one.id, f"{timeout * 1000:.0f}", "PATCH", url, {"timeout": timeout})
        if answer.outcome != "refused":
            one.timeout = max(timeout, one.timeout)
        return answer

    async def _send_events(self) -> None:
        """Application events one by one, each under an id of its own; several may be under way at once."""
        under_way: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            self._sent += 1
            task = asyncio.create_task(self._event(f"app-{self._seed}-{self._sent}"))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            await self.pause(self._rng.expovariate(self.load.events))
        await asyncio.gather(*under_way)

    async def _event(self, name: str) -> None:
        rng = random.Random(name)
        document = {"id": name, "type": rng.choice(EVENT_TYPES), "payload": {"n": rng.randrange(1 << 80)}}
        for _ in range(10):
            url = f"{self._collector()}/events"
            answer = await self._send("event", "", name, "POST", url, document)
            if answer.outcome == "acknowledged" or rng.random() >= self.load.retries:
                return
            await self.pause(AFTER_REFUSAL)

    async def _send(
        self, kind: Kind, monitor: str, what: str, method: str, url: str, document: Any = None
    ) -> Answer:
        answer = await self.client.send(method, url, document)
        self._history.request(
            Request(kind, monitor, what, answer.started, answer.ended, answer.outcome, answer.status)
        )
        return answer
