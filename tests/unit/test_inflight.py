"""Waiting for what is under way now."""

import asyncio

from services.collector.inflight import InFlight


async def hold(flight: InFlight, until: asyncio.Event) -> None:
    with flight.held():
        await until.wait()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nothing_under_way_is_not_waited_for() -> None:
    await asyncio.wait_for(InFlight().ended(), 1)


async def test_it_waits_for_all_that_came_before_and_for_none_that_came_later() -> None:
    """The one that came later goes on when the wait ends; the order in which they end does not matter."""
    flight, ends = InFlight(), [asyncio.Event() for _ in range(3)]
    held = [asyncio.create_task(hold(flight, ends[0])), asyncio.create_task(hold(flight, ends[1]))]
    await turns()
    waiting = asyncio.create_task(flight.ended())
    await turns()
    held.append(asyncio.create_task(hold(flight, ends[2])))
    ends[1].set()
    await turns()
    assert not waiting.done()
    ends[0].set()
    await asyncio.wait_for(waiting, 1)
    assert not held[2].done()
    ends[2].set()
    await asyncio.gather(*held)


async def test_who_waited_and_has_gone_holds_up_nobody() -> None:
    flight, end = InFlight(), asyncio.Event()
    held = asyncio.create_task(hold(flight, end))
    await turns()
    gone, stays = asyncio.create_task(flight.ended()), asyncio.create_task(flight.ended())
    await turns()
    gone.cancel()
    held.cancel()  # a request whose client has gone ends as well
    await asyncio.wait_for(stays, 1)
    assert gone.cancelled() or gone.done()
