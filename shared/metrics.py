"""Every metric, in one file: names, meanings, and the closed set of values of each label.

Resolve a child once (`BEAT_OK = HEARTBEATS.labels("ok")`) and keep it: `labels()` takes a lock and a
dictionary, which a hot path feels. Under `mishpulse up` the values of all processes live in mapped files
and are summed by whoever is asked for `/metrics`; so each gauge says how many values become one: the
highest (`livemax`) or the sum (`livesum`) of the living processes.
"""

import asyncio
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Final, Literal

from prometheus_client import Counter, Gauge, Histogram
from redis.exceptions import BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

LAG_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Around the promises of 100 and 250 ms."""
LATENCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1_800, 7_200, 18_000, 36_000, 86_400)
"""From a quick webhook to the last attempt of the retry schedule."""
ATTEMPT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)
"""Up to the request deadline of 15 s."""
BATCH_BUCKETS = (1, 2, 4, 8, 16, 24, 32)
"""Up to the largest script call."""

Group = Literal["notifier", "webhooks"]
"""A consumer group of the event stream; its arq queue is named alike."""
Kind = Literal["telegram", "email", "apprise", "channel_webhook", "self_ping", "webhook"]
"""Where a delivery goes: a channel, by its type (`channel_webhook` is one of type webhook), or a webhook."""


class BatchHistogram(Histogram):
    """A histogram that takes the observations of a whole batch."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """The same as `observe` for each, with one change of each bucket that is met.

        One by one they would be a fifth of the watchdog's time in a storm.
        """
        for place, count in Tally(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[place].inc(count)
        self._sum.inc(sum(amounts))


# --- collector ---

HEARTBEATS: Final = Counter(
    "mishpulse_heartbeats",
    "Heartbeats that were recorded, by status: ok, warning, error, start or log",
    ["status"],
)
HEARTBEATS_IGNORED: Final = Counter(
    "mishpulse_heartbeats_ignored",
    "Heartbeats that were answered but changed nothing: of a paused monitor, or by a method it does not take",
)
REFUSED: Final = Counter(
    "mishpulse_refused_requests",
    "Ingest requests refused: unknown_token, invalid, too_large, limited, signature or unavailable",
    ["reason"],
)
BATCH_SIZE: Final = Histogram(
    "mishpulse_heartbeat_batch_size", "Heartbeats sent to Redis in one script call", buckets=BATCH_BUCKETS
)
BATCH_SECONDS: Final = Histogram(
    "mishpulse_heartbeat_batch_seconds",
    "Time from sending a batch of heartbeats until Redis confirmed it",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
TELEMETRY: Final = Counter(
    "mishpulse_telemetry", "Signed telemetry, by result: accepted, replayed or full", ["result"]
)
INGESTED: Final = Counter(
    "mishpulse_ingested_events", "Application events, by result: accepted or duplicate", ["result"]
)
BLIND_SECONDS: Final = Counter(
    "mishpulse_blind_seconds", "Time in which no collector listened and no deadline counted"
)

# --- watchdog ---

TRANSITIONS: Final = Counter(
    "mishpulse_transitions",
    "Status changes by the new status: dead as the watchdog declares it, others as the notifier reads them",
    ["status"],
)
DETECTION_LAG: Final = BatchHistogram(
    "mishpulse_detection_lag_seconds",
    "Time from a monitor's deadline until it was declared dead",
    buckets=LAG_BUCKETS,
)
DETECTIONS: Final = Counter(
    "mishpulse_detections", "Deaths by what found them: hint (expiry event) or sweep (the ledger)", ["by"]
)
LAST_SWEEP: Final = Gauge(
    "mishpulse_last_sweep_timestamp_seconds",
    "When a shard was last swept (Unix time); time() minus this is the sweep's age",
    ["shard"],
    multiprocess_mode="livemax",
)
INGEST_STALE: Final = Gauge(
    "mishpulse_ingest_stale",
    "1 while no collector listens, so that the watchdog declares nothing",
    multiprocess_mode="livemax",
)
MONITORS: Final = Gauge("mishpulse_monitors", "Monitors in the ledger", multiprocess_mode="livemax")

# --- event stream ---

STREAM_LAG: Final = Gauge(
    "mishpulse_stream_lag",
    "Events of a shard that a consumer group has not read yet: notifier or webhooks",
    ["group", "shard"],
    multiprocess_mode="livemax",
)
STREAM_PENDING: Final = Gauge(
    "mishpulse_stream_pending",
    "Events of a shard that a consumer group has read but not acknowledged",
    ["group", "shard"],
    multiprocess_mode="livemax",
)
STREAM_LENGTH: Final = Gauge(
    "mishpulse_stream_length", "Events kept in a shard's stream", ["shard"], multiprocess_mode="livemax"
)
EVENTS_READ: Final = Counter(
    "mishpulse_events_read", "Events that a consumer group has handled and acknowledged", ["group"]
)
POISONED: Final = Counter(
    "mishpulse_poisoned_events", "Events put aside because a consumer group could not handle them", ["group"]
)
GROUPS_DROPPED: Final = Counter(
    "mishpulse_dropped_groups", "Consumer groups dropped because they read nothing for 7 days"
)

# --- deliveries ---

DELIVERIES: Final = Counter(
    "mishpulse_deliveries", "Deliveries that ended, by kind and result: success or failed", ["kind", "result"]
)
ATTEMPTS: Final = Counter(
    "mishpulse_attempts", "Attempts by kind and result: success, retry, failed or stale", ["kind", "result"]
)
ATTEMPT_FAILURES: Final = Counter(
    "mishpulse_attempt_failures", "Failed attempts by kind and reason (errors.Failure)", ["kind", "reason"]
)
ATTEMPT_SECONDS: Final = Histogram(
    "mishpulse_attempt_seconds", "Duration of one attempt", ["kind"], buckets=ATTEMPT_BUCKETS
)
DELIVERY_LATENCY: Final = BatchHistogram(
    "mishpulse_delivery_latency_seconds",
    "Time from an event until its delivery succeeded",
    ["kind"],
    buckets=LATENCY_BUCKETS,
)
DEAD_LETTERS: Final = Counter("mishpulse_dead_letters", "Deliveries out of attempts", ["kind"])
RECLAIMED: Final = Counter("mishpulse_reclaimed_claims", "Claims taken back from vanished workers", ["group"])
DIGESTED: Final = Counter("mishpulse_digested_messages", "Messages told in a storm's digest", ["kind"])
DISABLED: Final = Counter("mishpulse_disabled_webhooks", "Webhooks disabled because they kept failing")
QUEUE_DEPTH: Final = Gauge(
    "mishpulse_queue_depth", "Jobs waiting in an arq queue", ["group"], multiprocess_mode="livemax"
)
DUE_TARGETS: Final = Gauge(
    "mishpulse_due_targets",
    "Channels and webhooks with a delivery whose time has come",
    ["group"],
    multiprocess_mode="livemax",
)
OLDEST_UNDELIVERED: Final = Gauge(
    "mishpulse_oldest_undelivered_seconds",
    "How long the delivery that waits longest has been due; 0 when none is",
    ["group"],
    multiprocess_mode="livemax",
)

# --- self-ping ---

SELF_PINGS: Final = Counter(
    "mishpulse_self_pings",
    "Rounds of the self-ping by how they ended: beaten, late (through, but not in time), untold (the outside did not "
    "take it) or refused (the collector took no heartbeat); one that came to no end is in none",
    ["result"],
)
LAST_SELF_PING: Final = Gauge(
    "mishpulse_last_self_ping_timestamp_seconds",
    "When the outside was last told that all is well, or since when it is to be told (Unix time); 0 if it is not",
    multiprocess_mode="livemax",
)

# --- live ---

LIVE_CLIENTS: Final = Gauge(
    "mishpulse_live_clients", "WebSocket clients connected", multiprocess_mode="livesum"
)
LIVE_MESSAGES: Final = Counter("mishpulse_live_messages", "Events sent to WebSocket clients")
LIVE_CLOSED: Final = Counter(
    "mishpulse_live_closed",
    "WebSocket connections ended by us: unauthorized, invalid, slow, full, unavailable or stopping",
    ["reason"],
)

# --- every process ---

REDIS_ERRORS: Final = Counter(
    "mishpulse_redis_errors",
    "Redis commands that failed, by kind: connection, timeout, loading, response or other",
    ["kind"],
)
LOOP_LAG: Final = Histogram(
    "mishpulse_event_loop_lag_seconds",
    "How much later than asked the event loop wakes a sleeper",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
PROCESS_INFO: Final = Gauge(
    "mishpulse_process_info",
    "Living processes by service, version and Python",
    ["service", "version", "python"],
    multiprocess_mode="livesum",
)

LAG_INTERVAL = 0.25
"""Seconds between samples of the loop: four a second cost nothing and catch any stall of note."""


def count_redis_error(error: BaseException) -> None:
    """Counts an error that a Redis command raised, by its kind."""
    kind = "other"
    if isinstance(error, BusyLoadingError):
        kind = "loading"
    elif isinstance(error, RedisTimeoutError | TimeoutError):
        kind = "timeout"
    elif isinstance(error, RedisConnectionError | OSError):
        kind = "connection"
    elif isinstance(error, ResponseError):
        kind = "response"
    REDIS_ERRORS.labels(kind).inc()


async def sample_loop_lag() -> None:
    """Measures the event loop's lag until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(LAG_INTERVAL)
        LOOP_LAG.observe(max(0.0, loop.time() - before - LAG_INTERVAL))
