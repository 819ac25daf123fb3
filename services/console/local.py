"""The API in this very process, over the server's Redis: the same apps, routes and rules, and no port.

No lifespan is entered: this process must not stamp that it listens, nor feed live clients.
"""

import asyncio
import contextlib
import secrets
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from redis.exceptions import RedisError

from services import process
from services.composite import SERVICES, Composite
from services.console.place import DEFAULT_URL, Direct
from shared import logs, settings
from shared.connection import UNAVAILABLE, Store
from shared.health import Health
from shared.secrets import load_key
from shared.settings import Settings


def settings_of(place: Direct) -> Settings:
    """The settings of this process, with what the place knows better."""
    known: dict[str, Any] = {"redis_url": place.redis_url} if place.redis_url else {}
    found = settings.load(**known)
    if place.key_file and not found.secret_key:
        found = found.model_copy(update={"secret_key_file": str(place.key_file)})
    return found.model_copy(update={"public_url": found.public_url or place.public_url})


class LocalApi:
    """The API of the server whose Redis `place` names; PulseError when that does not answer."""

    def __init__(self, place: Direct) -> None:
        logs.setup("cli", "error")
        token = secrets.token_urlsafe(32)
        found = settings_of(place)
        load_key(found.secret_key, Path(found.secret_key_file) if found.secret_key_file else None)
        self._runner = asyncio.Runner()
        self._settings = found.model_copy(update={"admin_token": token})
        try:
            self._store = self._runner.run(self._open())
        except BaseException:
            self._runner.close()
            raise
        host = (self._settings.public_url or DEFAULT_URL).partition("://")[2]
        self._headers = [
            (b"host", host.encode()),
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/json"),
        ]

    async def _open(self) -> Store:
        store = await process.open_reachable(self._settings)
        apps = {
            name: import_module(f"services.{name}.app").create_app(store, self._settings) for name in SERVICES
        }
        self._app = Composite(apps, Health(store.redis))
        self._hints = apps["webhooks"].api.state.hints
        return store

    def send(self, method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
        """See `Api`."""
        return self._runner.run(self._ask(method, target, body or b""))

    async def _ask(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        path, _, query = target.partition("?")
        asked = [{"type": "http.request", "body": body, "more_body": False}]
        told: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if asked:
                return asked.pop()
            await asyncio.Event().wait()  # nobody hangs up
            raise AssertionError

        async def send(message: Any) -> None:
            told.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": quote(path, safe="/%").encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [*self._headers, (b"content-length", b"%d" % len(body))],
            "client": None,
            "server": None,
        }
        try:
            await self._app(scope, receive, send)
        except Exception:  # answered with 500 and logged already
            if not told:
                raise
        return told[0]["status"], b"".join(message.get("body", b"") for message in told[1:])

    def close(self) -> None:
        """Ends the connections and the loop."""
        self._runner.run(self._end())
        self._runner.close()

    async def _end(self) -> None:
        with contextlib.suppress(RedisError, *UNAVAILABLE):
            await self._hints.aclose(close_connection_pool=True)
        await self._store.redis.aclose()
