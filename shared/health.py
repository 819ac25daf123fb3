"""What every process says about itself: `/healthz`, `/readyz` and `/metrics`, as one small ASGI app."""

import asyncio
import os
import platform

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from redis.exceptions import RedisError
from starlette.types import Receive, Scope, Send

from shared import metrics
from shared.connection import UNAVAILABLE, RedisClient
from shared.version import version

PATHS = ("/healthz", "/readyz", "/metrics")

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of prometheus_client: the folder where the processes of a group map their values."""

ANSWER_WITHIN = 2.0
"""Seconds Redis has for its PING: below every prober's own limit of 3 s or more."""


def exposition() -> bytes:
    """The metrics of this process, or of its whole group under `mishpulse up`."""
    if not os.environ.get(MULTIPROCESS):
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def say_who(service: str) -> None:
    """Shows this process among the living ones."""
    metrics.PROCESS_INFO.labels(service, version(), platform.python_version()).set(1)


async def is_ready(redis: RedisClient) -> bool:
    """Whether Redis answers within two seconds; one that is loading its data does not."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            await redis.ping()
    except (TimeoutError, RedisError, *UNAVAILABLE):
        return False
    return True


class Health:
    """Answers the three paths, and 404 to all else."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """The ASGI entry; there is no lifespan."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        status, body, kind = await self._answer(scope["path"], scope["method"])
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, path: str, method: str) -> tuple[int, bytes, bytes]:
        json = b"application/json"
        if method not in ("GET", "HEAD"):
            return 405, b'{"detail": "use GET"}', json
        if path == "/healthz":
            return 200, b'{"status": "ok"}', json
        if path == "/readyz":
            if await is_ready(self.redis):
                return 200, b'{"status": "ok"}', json
            return 503, b'{"detail": "Redis does not answer; try again"}', json
        if path == "/metrics":
            body = await asyncio.to_thread(exposition)
            return 200, body, CONTENT_TYPE_LATEST.encode()
        return 404, b'{"detail": "there is /healthz, /readyz and /metrics"}', json
