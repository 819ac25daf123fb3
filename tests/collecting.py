"""A collector served for a test, with what tests of its routes ask for."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from serving import serving

from services.collector.app import Collector as App
from services.collector.app import create_app
from shared import auth, events, keys, monitors
from shared.connection import Store
from shared.events import Event
from shared.model import Monitor
from shared.monitors import NewMonitor
from shared.settings import load


@dataclass
class Collector:
    """A served collector, its store and a client of it."""

    store: Store
    app: App
    url: str
    client: httpx.AsyncClient

    async def monitor(self, name: str = "api-worker", **settings: Any) -> tuple[str, str]:
        """A monitor's id and token."""
        made, token = await monitors.create(self.store, NewMonitor(name=name, **settings))
        return made.id, token

    async def read(self, monitor_id: str) -> Monitor:
        return await monitors.get(self.store, monitor_id)

    async def token(self, scope: auth.Scope) -> str:
        """An API token with this scope."""
        _, text = await auth.create_api_token(self.store, scope, [scope])
        return text

    async def beats(self, monitor_id: str) -> list[tuple[str, str, str]]:
        """Kind, duration in ms and message of each heartbeat, newest first."""
        entries = await self.store.redis.lrange(keys.beats(0, monitor_id), 0, -1)
        return [tuple(entry.split(" ", 3)[1:]) for entry in entries]

    async def events(self) -> list[Event]:
        entries = await self.store.redis.xrange(keys.events(0))
        return [events.parse(0, entry_id, fields) for entry_id, fields in entries]


@asynccontextmanager
async def collecting(store: Store, **settings: Any) -> AsyncIterator[Collector]:
    """A collector with these settings."""
    app = create_app(store, load(**settings))
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        yield Collector(store, app, url, client)


def sign(body: bytes, secret: str) -> str:
    """The signature that a shop sends."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def dumps(value: Any) -> bytes:
    """A body as `requests` writes it."""
    return json.dumps(value).encode()
