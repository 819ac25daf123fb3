"""Receivers of webhooks and of channels of type webhook: every request is noted, whatever it is answered.

They live in the campaign's own process, which no scenario kills. The path `/<target>` says who is delivered to.
"""

import asyncio
import json
import random
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from chaos.history import History, Receipt, now_ms

Answer = Callable[[str, str], int | None]
"""(target, message id) → the status to answer; None cuts the connection without an answer."""

ID: Final = "webhook-id"


def well(_target: str, _message: str) -> int:
    """Answers everything with 200."""
    return 200


def failing(rng: random.Random, rate: float) -> Answer:
    """Answers a part of all requests with 500."""
    return lambda _target, _message: 500 if rng.random() < rate else 200


class Receivers:
    """One HTTP server for all targets: `url(name)` is where a target named `name` is delivered to.

    A name becomes a target (`webhook:3`) by `known`, once the product has given it an id; `answers` may give a name its
    own way of answering.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self.known: dict[str, str] = {}
        self.answers: dict[str, Answer] = {}
        self.delay: tuple[float, float] = (0.0, 0.0)
        """Seconds that an answer takes, drawn between these."""
        self._rng = random.Random(7)
        self.port = 0
        self.outlet = ""
        """Base URL by which the product reaches the receivers, when that leads through a proxy."""

    def url(self, name: str) -> str:
        base = self.outlet or f"http://127.0.0.1:{self.port}"
        return f"{base}/{name}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/{name}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        at = now_ms()
        name = request.match_info["name"]
        body = await request.read()
        message = request.headers.get(ID, "")
        kind = request.headers.get("X-Webhook-Event", "")
        status = self.answers.get(name, well)(name, message)
        events: tuple[str, ...] = (message,)
        unlisted = 0
        if kind == "digest":  # it stands for its members and names the first 100 of them
            digest = json.loads(body)
            events, unlisted = tuple(digest["events"]), digest["count"] - len(digest["events"])
        target = self.known.get(name, name)
        self._history.receipt(Receipt(target, message, events, kind, at, status or 0, unlisted))
        if self.delay[1]:
            await asyncio.sleep(self._rng.uniform(*self.delay))
        if status is None:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=status or 500, text="ok")
