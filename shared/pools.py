"""Connections to servers that may be frozen or replaced: made side by side, given up soon, dropped from outside."""

import asyncio
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import TimeoutError as RedisTimeoutError

CONNECT_WITHIN: Final = 2.0
"""Seconds until a connection is made and greeted: a frozen server accepts connections, and answers nothing."""


class Prompt(AbstractConnection):
    """A connection that is made within two seconds or not at all, and may be dropped while it is in use."""

    async def connect(self) -> None:
        """As in redis-py; raises its TimeoutError after two seconds."""
        if self.is_connected:
            return
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await super().connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError(f"no greeting from {self._host_error()}") from None
            raise

    def drop(self) -> None:
        """Ends the connection below whoever uses it: they see that the server has closed it."""
        if self._writer is not None:
            self._writer.close()


class Pool(ConnectionPool):
    """A pool in which connecting holds nobody up.

    redis-py's makes one connection after another, so that behind a server that does not answer a hundred requests
    would wait a hundred timeouts.
    """

    async def get_connection(self, _command: Any = None, *_keys: Any, **_options: Any) -> AbstractConnection:
        """A connection that works; raises redis-py's errors."""
        connection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection  # type: ignore[no-any-return]

    def all_connections(self) -> list[AbstractConnection]:
        """Those in use and those at rest."""
        return [*self._in_use_connections, *self._available_connections]
