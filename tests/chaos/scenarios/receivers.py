"""Receivers that answer late, never, or break off: everything arrives in the end, and none of them delays another."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from chaos.history import now_ms
from chaos.proxy import Mode, Proxy
from chaos.retrying import Writers
from chaos.rig import Rig, rig
from chaos.rows import percentile
from chaos.score import Context, Score
from chaos.wire import Wire
from chaos.workload import Load
from chaos.world import ADMIN_TOKEN

NAME = "receivers"
PROMISE = "one slow or broken destination delays no other"
WEIGHT = 0.5
LEAST = 27.0
FULL = 150.0

TELLERS: Final = 5
EVERY: Final = 0.25
PROMPT: Final = 2.0
"""Seconds within which a healthy receiver has an event, whatever the others do."""
STUCK: Final = 16.0
"""Seconds that an attempt into a black hole lasts."""
HEALED_WITHIN: Final = 60.0
LOAD: Final = Load(monitors=0, events=0.0, channels=0, webhooks=())


@dataclass(slots=True)
class Destination:
    """One webhook and the proxy in front of its receiver, with what that does."""

    name: str
    mode: Mode
    share: float = 0.0
    delay: float = 0.0
    webhook: int = 0

    @property
    def target(self) -> str:
        return f"webhook:{self.webhook}"


def destinations() -> list[Destination]:
    """Two that are well, and one for each way of being unwell; `gone` says so itself, by 410."""
    return [
        Destination("well-1", "pass"),
        Destination("late", "delay", delay=2.0),
        Destination("hole", "blackhole"),
        Destination("cutting", "cut", share=0.5),
        Destination("refusing", "refuse"),
        Destination("gone", "pass"),
        Destination("well-2", "pass"),
    ]


async def run(context: Context) -> Score:
    """Events while five of seven destinations are broken; then all heal, and `recover` is asked for."""
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(rig(context, LOAD))
        wire = await stack.enter_async_context(Wire(up.world.ports["collector"], ADMIN_TOKEN))
        proxies: dict[str, Proxy] = {}
        every = destinations()
        for one in every:
            proxy = Proxy(f"tcp:127.0.0.1:{up.receivers.port}", seed=context.rng.randrange(1 << 30))
            proxies[one.name] = await stack.enter_async_context(proxy)
            await _subscribe(up, one, proxy.port)
            await proxy.set(one.mode, share=one.share, delay=one.delay)
        up.receivers.answers["gone"] = lambda _target, _message: 410
        began = now_ms()
        writers = Writers(wire, context.rng, "receivers")
        load = [asyncio.create_task(writers.keep_telling(EVERY)) for _ in range(TELLERS)]
        await asyncio.sleep(max(8.0, context.budget - STUCK - 10))
        writers.stop()
        await asyncio.gather(*load)
        for proxy in proxies.values():
            await proxy.set("pass")
        del up.receivers.answers["gone"]
        left = await _recover(up, every, began)
        return await _score(up, every, writers, left)


async def _subscribe(up: Rig, one: Destination, port: int) -> None:
    document = {"name": one.name, "url": f"http://127.0.0.1:{port}/{one.name}", "event_type": "order.*"}
    made = await up.workload.client.need("POST", f"{up.world.url('webhooks')}/webhooks", document)
    one.webhook = int(made["id"])
    up.receivers.known[one.name] = one.target
    up.facts.subscriptions[one.target] = ("order.*",)


async def _recover(up: Rig, every: list[Destination], since: float) -> dict[str, int]:
    """Asks for what was missed, as an operator does, until nothing is left; what is left after a minute."""
    base = f"{up.world.url('webhooks')}/webhooks"
    start = datetime.fromtimestamp(since / 1000 - 5, UTC).isoformat()
    client, until = up.workload.client, now_ms() + 1000 * HEALED_WITHIN
    for one in every:
        await client.need("PATCH", f"{base}/{one.webhook}", {"is_active": True})
    while True:
        for one in every:
            await client.need("POST", f"{base}/{one.webhook}/recover", {"since": start})
        left = await up.drained(4.0)
        if not left or now_ms() > until:
            return left


async def _score(up: Rig, every: list[Destination], writers: Writers, left: dict[str, int]) -> Score:
    events = {name: at for (_, name), at in writers.written.acknowledged.items()}
    got: dict[tuple[str, str], list[float]] = {}
    for receipt in up.facts.receipts:
        if receipt.answered != 410:
            got.setdefault((receipt.target, receipt.message), []).append(receipt.at)
    dead = await _dead_letters(up, every)
    missing = [
        (one.name, event)
        for one in every
        for event in events
        if (one.target, event) not in got and (one.target, event) not in dead
    ]
    score = Score()
    n = len(events) * len(every)
    score.zero(PROMISE, "events neither delivered nor a visible dead letter", len(missing), n)
    score.zero(PROMISE, "deliveries left undone after the receivers healed", sum(left.values()), n)
    well = [one.target for one in every if one.name.startswith("well")]
    late = [
        got[target, event][0] - at
        for target in well
        for event, at in events.items()
        if (target, event) in got
    ]
    figure = "delivery to healthy receivers beside the broken ones, p99"
    score.at_most(PROMISE, figure, percentile(late, 0.99) / 1000, PROMPT, len(late), " s")
    twice: dict[str, int] = {}
    for (target, _), times in got.items():
        twice[target] = twice.get(target, 0) + len(times) - 1
    calm = sum(
        twice.get(one.target, 0) for one in every if one.mode in ("pass", "delay") and one.name != "gone"
    )
    score.zero(PROMISE, "events sent twice to receivers that answered", calm, len(late))
    told = ", ".join(f"{one.name} {twice.get(one.target, 0)}" for one in every if one.mode == "cut")
    score.notes.append(f"sent again under the same id because the answer was cut: {told}")
    score.notes += [f"missing: {one}" for one in missing[:3]]
    score.zero(
        PROMISE, "processes that did not live through it", len(up.world.check()), len(up.world.processes)
    )
    return score


async def _dead_letters(up: Rig, every: list[Destination]) -> set[tuple[str, str]]:
    """Target and event of every delivery that the API shows as failed."""
    found = set()
    for one in every:
        base = f"{up.world.url('webhooks')}/webhooks/{one.webhook}/deliveries"
        offset = 0
        while True:
            page = await up.workload.client.need("GET", f"{base}?status=failed&limit=200&offset={offset}")
            found |= {(one.target, item["payload"]["name"]) for item in page["items"]}
            offset += len(page["items"])
            if not page["items"]:
                break
    return found
