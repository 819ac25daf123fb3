"""What an idle WebSocket client costs the process that serves it.

    python bench/live_idle.py [clients]

Goal: at most 40 KB each with 5,000 clients. The process is the real one, without its limit of 1,000 clients.
"""

import asyncio
import resource
import sys

import uvloop
from ground import fresh_store, resident
from live import Counting
from report import Measure, progress, report
from running import running

AT_ONCE = 100


async def main(count: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop = asyncio.get_running_loop()
    greeted, changed = 0, asyncio.Event()

    def on_frames(frames: int) -> None:
        nonlocal greeted
        greeted += frames
        changed.set()

    async def add(port: int, until: int) -> None:
        while len(open_) < until:
            part = [
                loop.create_connection(lambda: Counting(on_frames), "127.0.0.1", port) for _ in range(AT_ONCE)
            ]
            open_.extend(transport for transport, _ in await asyncio.gather(*part))
            while greeted < len(open_):
                changed.clear()
                await asyncio.wait_for(changed.wait(), 30)
            progress("clients", len(open_), count)

    open_: list[asyncio.Transport] = []
    async with fresh_store() as (_, settings):
        with running("webhooks", settings, PULSE_WS_MAX_CLIENTS=str(count)) as server:
            await add(server.port, AT_ONCE)
            before, first = resident(server.pid), len(open_)
            await add(server.port, count)
            await asyncio.sleep(5)
            after = resident(server.pid)
            for transport in open_:
                transport.abort()
    each = (after - before) / (len(open_) - first) / 1000
    report(
        f"idle WebSocket clients on one process, n = {len(open_):,}",
        [
            Measure("the process with the first hundred", f"{before / 2**20:.0f} MiB"),
            Measure("with all", f"{after / 2**20:.0f} MiB"),
            Measure("each further client", f"{each:.1f} KB", each, 40),
        ],
    )


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000))
