"""Redis' memory over 200,000 deliveries of one webhook: history is bounded, so it must stay flat.

    python bench/retention.py [deliveries]

Which events were delivered is remembered for 5 minutes, so memory grows with the rate for that long. The run is
therefore spread over 400 s, and the last sample is compared with the first one after 5 minutes.

The deliveries go through the ledger and the pump with a sender that answers at once; every tenth fails for good until
1,000 dead letters are kept, which are not trimmed for 30 days and so are made before the first sample.
"""

import asyncio
import sys
import time
from collections.abc import Sequence

import uvloop
from ground import fresh_store
from report import Measure, progress, report

from shared import delivery_history
from shared.connection import Store
from shared.deliveries import Delivery, NewDelivery, create
from shared.pump import Pump
from shared.retry import Outcome
from shared.workers import renew

TARGET = "webhook:1"
DEAD = 1_000
STEPS = 20
REMEMBERED_S = 300
SPREAD_S = 400
PAYLOAD = '{"order": 4711, "customer": "somebody", "text": "' + "x" * 300 + '"}'


class AtOnce:
    """Answers without sending."""

    async def send(self, deliveries: Sequence[Delivery]) -> Outcome:
        if deliveries[0].meta:
            return Outcome(410, "gone", "gone")
        return Outcome(200, "ok")


async def deliver(store: Store, pump: Pump, start: int, count: int, meta: str = "") -> None:
    """Creates deliveries and waits until all have ended."""
    for begin in range(start, start + count, 1_000):
        part = range(begin, min(begin + 1_000, start + count))
        await create(
            store, [NewDelivery(TARGET, f"e{i}", "user.created", PAYLOAD, 0, meta=meta) for i in part]
        )
        pump.wake([TARGET])
        while (await delivery_history.stats(store, [TARGET]))[0].pending:
            await asyncio.sleep(0.01)
            pump.wake([TARGET])
        await renew(store, "bench")


async def memory(store: Store) -> int:
    return int((await store.redis.info("memory"))["used_memory"])


async def main(count: int) -> None:
    async with fresh_store() as (store, _):
        await renew(store, "bench")
        pump = Pump(store, "bench", AtOnce())
        await deliver(store, pump, 0, DEAD, meta="{}")
        await deliver(store, pump, DEAD, 5_000)
        rows: list[tuple[str, str]] = []
        samples: list[int] = []
        level = 0
        began = time.monotonic()
        done = DEAD + 5_000
        for step in range(1, STEPS + 1):
            await deliver(store, pump, done, count // STEPS)
            done += count // STEPS
            await asyncio.sleep(max(0.0, began + SPREAD_S * step / STEPS - time.monotonic()))
            samples.append(await memory(store))
            progress("deliveries", done - DEAD - 5_000, count)
            at = time.monotonic() - began
            if at > REMEMBERED_S and not level:
                level = samples[-1]
            rows.append(
                (f"after {step * count // STEPS:,} deliveries, {at:.0f} s", f"{samples[-1] / 2**20:.2f} MiB")
            )
        (stats,) = await delivery_history.stats(store, [TARGET])
        listed = await delivery_history.listing(store, TARGET, limit=1)
        await pump.stop(1)
    rows.append(
        ("counted / kept in history", f"{stats.success_count + stats.failure_count:,} / {listed.total:,}")
    )
    ratio = samples[-1] / level if level else None
    text = f"{ratio:.3f}" if ratio else "too short"
    measures = [Measure(name, value) for name, value in rows]
    measures.append(Measure(f"last sample / first after {REMEMBERED_S} s", text, ratio, 1.05))
    report(f"memory over n = {count:,} deliveries", measures)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
