"""A limit on request bodies, for FastAPI reads the whole of one before it asks who is there."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.web import problem

MAX_BODY = 1024 * 1024
"""CONTRACT 2's bound for heartbeats, and far above any document that the API takes."""


class BodyLimit:
    """Answers 413 to a body above `limit` bytes: at once when its length is announced, else when it gets there."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit() or int(announced[:20]) > self.limit:
            await problem(413, self._sentence())(scope, receive, send)
            return
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self.limit:
                raise HTTPException(413, self._sentence())
            return message

        await self.app(scope, counted, send)

    def _sentence(self) -> str:
        return f"the body is over {self.limit:,} bytes; send less"
