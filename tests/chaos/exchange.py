"""One HTTP request and what is known of it afterwards: acknowledged, refused or indeterminate."""

from dataclasses import dataclass
from typing import Any

import aiohttp

from chaos.history import Outcome, now_ms
from chaos.world import ADMIN_TOKEN


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request; `body` is the JSON of an acknowledged one."""

    outcome: Outcome
    status: int
    body: Any
    started: float
    ended: float


def outcome_of(status: int) -> Outcome:
    """2xx is a promise, 4xx says that nothing was done, anything else says nothing."""
    if 200 <= status <= 299:
        return "acknowledged"
    return "refused" if 400 <= status <= 499 else "indeterminate"


class Client:
    """Sends requests to one installation; nothing is ever sent twice within one `send`."""

    def __init__(self, timeout: float = 3.0) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout),
            connector=aiohttp.TCPConnector(limit=500, keepalive_timeout=2),
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        )

    async def send(self, method: str, url: str, document: Any = None) -> Answer:
        """One request. A connection that could not be made refuses; one that broke later leaves it open."""
        started = now_ms()
        try:
            async with self._session.request(method, url, json=document) as answer:
                outcome = outcome_of(answer.status)
                body = await answer.json(content_type=None) if outcome == "acknowledged" else None
                return Answer(outcome, answer.status, body, started, now_ms())
        except aiohttp.ClientConnectorError:
            return Answer("refused", 0, None, started, now_ms())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return Answer("indeterminate", 0, None, started, now_ms())

    async def need(self, method: str, url: str, document: Any = None) -> Any:
        """The body of a request that has to succeed: for setting things up before any fault."""
        answer = await self.send(method, url, document)
        if answer.outcome != "acknowledged":
            raise RuntimeError(f"{method} {url}: {answer.outcome} {answer.status}")
        return answer.body

    async def close(self) -> None:
        await self._session.close()
