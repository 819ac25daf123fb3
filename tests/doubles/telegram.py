"""A Bot API double: the answers of sendMessage and getMe as the real one gives them, and the chats it told.

As a program: `python tests/doubles/telegram.py --port 9001 [--flood 2:5] [--out FILE]`.
"""

import asyncio
import re
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a program

from doubles.html_entities import EntityError, parse, units
from doubles.journal import Journal, parser, serve

TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{3,100}")
LIMIT = 4096


class BotApi:
    """A server on loopback; the sets and `flood` say whom it refuses.

    `journal.received` holds what was accepted: token, chat_id, text as sent, parsed text; `refused` the other
    answers.
    """

    def __init__(self, journal: Journal | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.journal = journal or Journal()
        self.refused: list[dict[str, Any]] = []
        self.revoked: set[str] = set()
        self.missing: set[str] = set()
        self.blocked: set[str] = set()
        self.moved: dict[str, int] = {}
        self.flood: list[int] = []
        """Seconds of `retry_after` for the next calls, one each."""
        self.delay = 0.0
        self.host, self.port = host, port

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{bot:bot[^/]*}/{method}", self._called)
        app.router.add_route("*", "/{rest:.*}", self._unknown)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _unknown(self, request: web.Request) -> web.Response:
        return self._refuse(404, "Not Found")

    async def _called(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay)
        token = request.match_info["bot"].removeprefix("bot")
        if not TOKEN.fullmatch(token):
            return self._refuse(404, "Not Found")
        if token in self.revoked:
            return self._refuse(401, "Unauthorized")
        method = request.match_info["method"].lower()
        if method == "getme":
            return web.json_response({"ok": True, "result": {"id": int(token.split(":")[0]), "is_bot": True}})
        if method != "sendmessage":
            return self._refuse(404, "Not Found")
        if self.flood:
            wait = self.flood.pop(0)
            return self._refuse(429, f"Too Many Requests: retry after {wait}", {"retry_after": wait})
        return self._send(token, await _arguments(request))

    def _send(self, token: str, arguments: dict[str, Any]) -> web.Response:
        chat_id, text = str(arguments.get("chat_id") or ""), str(arguments.get("text") or "")
        if (problem := self._chat_problem(chat_id)) is not None:
            return problem
        try:
            parsed = parse(text) if str(arguments.get("parse_mode", "")).lower() == "html" else text
        except EntityError as error:
            return self._refuse(400, f"Bad Request: can't parse entities: {error}")
        if not parsed.strip():
            return self._refuse(400, "Bad Request: message text is empty")
        if units(parsed) > LIMIT:
            return self._refuse(400, "Bad Request: message is too long")
        self.journal.note(token=token, chat_id=chat_id, text=text, parsed=parsed, at=time.time())
        message = {
            "message_id": len(self.journal.received),
            "date": int(time.time()),
            "chat": {"id": chat_id, "type": "private"},
            "text": parsed,
        }
        return web.json_response({"ok": True, "result": message})

    def _chat_problem(self, chat_id: str) -> web.Response | None:
        if not chat_id:
            return self._refuse(400, "Bad Request: chat_id is empty")
        if chat_id in self.missing:
            return self._refuse(400, "Bad Request: chat not found")
        if chat_id in self.blocked:
            return self._refuse(403, "Forbidden: bot was blocked by the user")
        if chat_id in self.moved:
            words = "Bad Request: group chat was upgraded to a supergroup chat"
            return self._refuse(400, words, {"migrate_to_chat_id": self.moved[chat_id]})
        return None

    def _refuse(
        self, status: int, description: str, parameters: dict[str, int] | None = None
    ) -> web.Response:
        answer: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
        if parameters:
            answer["parameters"] = parameters
        self.refused.append(answer)
        return web.json_response(answer, status=status)


async def _arguments(request: web.Request) -> dict[str, Any]:
    """The arguments from query, form or JSON, as the Bot API takes them."""
    if request.content_type == "application/json":
        return {**request.query, **await request.json()}
    return {**request.query, **await request.post()}


def main() -> None:
    arguments = parser("A Bot API double.")
    arguments.add_argument("--flood", default="0:0", help="COUNT:SECONDS, the first calls that answer 429")
    options = arguments.parse_args()
    count, wait = (int(part) for part in options.flood.split(":"))

    def make(journal: Journal) -> BotApi:
        double = BotApi(journal, options.host, options.port)
        double.flood = [wait] * count
        return double

    serve(make, options.out)


if __name__ == "__main__":
    main()
