"""The client of one Redis server: redis-py's, with pipelines that lose no connection when they are cancelled."""

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline


class SafePipeline(Pipeline):
    """redis-py's pipeline, which forgets its connection when it is cancelled while it gives it back."""

    async def reset(self) -> None:
        """As in redis-py; a connection whose UNWATCH was cut off is closed and given back."""
        try:
            await super().reset()  # type: ignore[no-untyped-call]
        except BaseException:
            connection, self.connection = self.connection, None
            if connection is not None:
                await connection.disconnect(nowait=True)
                await self.connection_pool.release(connection)
            raise


class Client(Redis):
    """redis-py's client with our pipeline; whoever needs another client puts this class before it."""

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """As in redis-py."""
        return SafePipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
