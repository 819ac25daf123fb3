"""An HTTP receiver that keeps what it gets and answers as the path or the test tells it.

| path | answer |
|---|---|
| `/status/503` | that status; `?retry-after=7` adds the header |
| `/redirect?to=URL` | 302 |
| `/slow?s=2` | 200 after so many seconds |
| `/drip` | 200 and then a byte every 20 ms without end |
| `/hang` | nothing at all |
| `/large` | 200 and 10 MB |
| anything else | the next of `answers`, else 200 `ok` |

As a program: `python tests/doubles/receiver.py --port 9002 [--out FILE]`.
"""

import asyncio
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a program

from doubles.journal import Journal, parser, serve


class Receiver:
    """A server on loopback. `answers` are (status, body, headers) for the next requests to plain paths."""

    def __init__(
        self, journal: Journal | None = None, host: str = "127.0.0.1", port: int = 0, tls: object = None
    ) -> None:
        self.journal = journal or Journal()
        self.answers: list[tuple[int, str, dict[str, str]]] = []
        self.host, self.port, self.tls = host, port, tls

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/status/{status}", self._status)
        app.router.add_route("*", "/redirect", self._redirect)
        app.router.add_route("*", "/slow", self._slow)
        app.router.add_route("*", "/drip", self._drip)
        app.router.add_route("*", "/hang", self._hang)
        app.router.add_route("*", "/large", self._large)
        app.router.add_route("*", "/{rest:.*}", self._plain)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port, ssl_context=self.tls).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _keep(self, request: web.Request) -> None:
        body = await request.read()
        self.journal.note(
            method=request.method,
            path=request.path_qs,
            headers=dict(request.headers),
            body=body.decode("utf-8", "replace"),
            at=time.time(),
        )

    async def _plain(self, request: web.Request) -> web.Response:
        await self._keep(request)
        status, body, headers = self.answers.pop(0) if self.answers else (200, "ok", {})
        return web.Response(status=status, text=body, headers=headers)

    async def _status(self, request: web.Request) -> web.Response:
        await self._keep(request)
        wait = request.query.get("retry-after")
        headers = {"Retry-After": wait} if wait else {}
        return web.Response(status=int(request.match_info["status"]), text="as you wish", headers=headers)

    async def _redirect(self, request: web.Request) -> web.Response:
        await self._keep(request)
        return web.Response(status=302, headers={"Location": request.query["to"]})

    async def _slow(self, request: web.Request) -> web.Response:
        await self._keep(request)
        await asyncio.sleep(float(request.query.get("s", "1")))
        return web.Response(text="ok")

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        await self._keep(request)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b".")
                await asyncio.sleep(0.02)
        except ConnectionError:
            return response

    async def _hang(self, request: web.Request) -> web.Response:
        await self._keep(request)
        await asyncio.Event().wait()
        raise AssertionError

    async def _large(self, request: web.Request) -> web.StreamResponse:
        await self._keep(request)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(160):
                await response.write(b"x" * 65536)
        except ConnectionError:
            pass
        return response


def main() -> None:
    options = parser("An HTTP receiver.").parse_args()
    serve(lambda journal: Receiver(journal, options.host, options.port), options.out)


if __name__ == "__main__":
    main()
