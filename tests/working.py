"""A worker process's life within a test, and a sender that keeps what it was given."""

import asyncio
import contextlib

from shared import queue, retry
from shared.deliveries import NewDelivery


def new(event, target="webhook:1", **more):
    return NewDelivery(target, str(event), "a.b", "{}", 1, **more)


class Sends:
    """A sender that keeps what it was given; `fate` decides by target, `gate` holds targets back."""

    def __init__(self, fate=None):
        self.messages = []
        self.started = []
        self.fate = fate or {}
        self.gates = {}

    @property
    def ids(self):
        return [d.id for message in self.messages for d in message]

    async def send(self, message):
        target = message[0].target
        self.started.append(message)
        if target in self.gates:
            await self.gates[target].wait()
        self.messages.append(message)
        fate = self.fate.get(target)
        if isinstance(fate, Exception):
            raise fate
        return fate or retry.Outcome(200, "ok")


@contextlib.asynccontextmanager
async def working(store, url, sender, kind="webhook", **more):
    stop = asyncio.Event()
    task = asyncio.create_task(queue.run_worker(store, url, sender, kind=kind, stop=stop, **more))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, 8)
