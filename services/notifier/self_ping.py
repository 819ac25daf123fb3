"""Who watches the watcher: a synthetic monitor goes all the way, and only then does the outside hear that all is well.

    heartbeat by HTTP ─▶ collector ─▶ silence ─▶ sweep ─▶ monitor.dead in the stream ─▶ dispatcher ─▶ delivery ─▶ worker
        ▲                                                                                                          │
        └── begun every PULSE_SELF_PING_INTERVAL, by whichever notifier comes first       GET PULSE_SELF_PING_URL ◀┘

No timer tells the outside anything: whichever link is missing, it hears nothing and raises its alarm.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import structlog

from shared import keys, metrics, monitors, scripts, synthetic
from shared.auth import hash_token
from shared.channels import Channel
from shared.connection import Store, is_away
from shared.deliveries import Delivery
from shared.errors import DeliveryError
from shared.model import Monitor, new_token
from shared.monitors import NewMonitor
from shared.outbound import Sender
from shared.retry import Outcome
from shared.settings import Settings
from shared.targets import ANYWHERE

LONGEST_SILENCE: Final = 5.0
LONGEST_WAY: Final = 15.0
"""Seconds from the heartbeat to the end of its round; what takes longer is not well. Outside, 75 s of silence then are
at most 90 s after any link broke."""
ASK_AGAIN: Final = 1.0
"""Seconds after which the outside is asked again, should it not take it, for as long as the round has time."""
ANSWER_WITHIN: Final = 5.0
"""Seconds for an answer of the collector."""
SHORTEST_PAUSE: Final = 0.05
REMEMBERED: Final = 24 * 3600
"""Seconds for which `mishpulse doctor` can tell when the outside was last told."""

CHANNEL: Final = Channel(synthetic.CHANNEL, "self-ping", "self_ping", {}, ("monitor.dead",))

log = structlog.get_logger(__name__)


class SelfPing:
    """The rounds of one notifier. `outside` sends to the URL of the settings, without which nothing is done."""

    def __init__(self, store: Store, settings: Settings, outside: Sender) -> None:
        self._store = store
        self._url = settings.self_ping_url
        self._collector = settings.collector_url
        self._interval = settings.self_ping_interval
        self._silence = min(LONGEST_SILENCE, self._interval / 6)
        self._way = min(LONGEST_WAY, self._interval / 2)
        self._outside = outside
        self._token = new_token()
        """The monitor's while this notifier begins rounds; in no other's memory and not in Redis."""

    @property
    def channels(self) -> Mapping[int, Channel]:
        """The channel to which the synthetic monitor's death is told."""
        return {CHANNEL.id: CHANNEL} if self._url else {}

    async def keep_beginning(self) -> None:
        """Begins rounds until cancelled, through any absence of Redis or of the collector."""
        if not self._url:
            return
        metrics.LAST_SELF_PING.set(time.time())
        async with Sender(ANYWHERE, deadline=ANSWER_WITHIN) as inside:
            while True:
                try:
                    pause = await self._begin(inside)
                except Exception as error:
                    if not is_away(error):
                        log.exception("self_ping.failed")
                    metrics.count_redis_error(error)
                    pause = self._silence
                await asyncio.sleep(pause)

    async def _begin(self, inside: Sender) -> float:
        """Begins a round unless another notifier has; returns the seconds until the next one's turn.

        A heartbeat that the collector did not take leaves the turn to whoever comes next.
        """
        redis, turn = self._store.redis, keys.SELF_PING_TURN
        if await redis.set(turn, "", nx=True, px=round(self._interval * 1000)):
            await self._prepare()
            if why := await self._beat(inside):
                metrics.SELF_PINGS.labels("refused").inc()
                log.warning("self_ping.refused", error=why)
                await redis.delete(turn)
                return self._silence
        left: int = await redis.pttl(turn)
        return max(SHORTEST_PAUSE, left / 1000)

    async def _prepare(self) -> None:
        """Makes the monitor what it has to be, whatever it was."""
        monitor = await self._monitor()
        timeout = round(self._silence * 1000)
        if monitor is None:
            new = NewMonitor("self-ping", timeout, slug="", channels=str(synthetic.CHANNEL))
            await monitors.write(self._store, synthetic.MONITOR, hash_token(new_token()), new)
            monitor = await self._monitor()
            assert monitor
        if monitor.timeout != timeout:
            await scripts.update_monitor(self._store, monitor.id, {"timeout": str(timeout)}, tell=False)
        if monitor.status == "paused":
            await scripts.pause_monitor(self._store, monitor.id, "resume")
        if monitor.token_hash != hash_token(self._token):
            await monitors.rotate_token(self._store, monitor, self._token)

    async def _monitor(self) -> Monitor | None:
        found = await monitors.get_many(self._store, [synthetic.MONITOR])
        return found[0] if found else None

    async def _beat(self, inside: Sender) -> str:
        """One heartbeat like anybody's; what went wrong, or ""."""
        try:
            reply = await inside.post(f"{self._collector}/api/heartbeat/{self._token}", b"", {})
        except DeliveryError as error:
            return str(error)
        return "" if reply.status == 200 else f"the collector answered {reply.status}"

    async def arrived(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Ends the rounds of these deliveries: tells the outside, if the newest came in time.

        A round that failed is over, and its delivery with it: there is nothing to try again, the next round is on its
        way. The outcome's body says how it ended.
        """
        seconds, micros = await self._store.redis.time()
        began = max(_seen(one) for one in deliveries if one.payload)
        taken = seconds + micros / 1e6 - began
        if not self._url:
            return Outcome(body="This notifier has no PULSE_SELF_PING_URL.")
        if taken >= self._way:
            metrics.SELF_PINGS.labels("late").inc()
            log.warning("self_ping.late", seconds=round(taken, 3), allowed=self._way)
            return Outcome(body=f"Late: {taken:.1f} s after the heartbeat.")
        if why := await self._tell(self._way - taken):
            metrics.SELF_PINGS.labels("untold").inc()
            log.warning("self_ping.untold", error=why)
            return Outcome(body=f"Untold: {why}")
        await self._told(seconds)
        return Outcome(body="The outside was told.")

    async def _tell(self, within: float) -> str:
        """Asks for the URL until it answers 2xx, for at most `within` seconds; what went wrong, or ""."""
        why = f"no answer within {within:.1f} s"
        try:
            async with asyncio.timeout(within):
                while True:
                    try:
                        reply = await self._outside.get(self._url)
                        if 200 <= reply.status <= 299:
                            return ""
                        why = f"the outside answered {reply.status}"
                    except DeliveryError as error:
                        why = str(error)
                    await asyncio.sleep(ASK_AGAIN)
        except TimeoutError:
            return why

    async def _told(self, now: int) -> None:
        metrics.SELF_PINGS.labels("beaten").inc()
        metrics.LAST_SELF_PING.set(time.time())
        await self._store.redis.set(keys.SELF_PING, str(now * 1000), ex=REMEMBERED)


def _seen(delivery: Delivery) -> float:
    """When the heartbeat of the round was recorded, in Unix seconds."""
    return datetime.fromisoformat(json.loads(delivery.payload)["last_seen"]).timestamp()
