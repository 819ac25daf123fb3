"""The storm digest of a channel; pure.

A channel gets 5 messages in 10 s one by one. What is due beyond that waits for a digest: the first 2 s after the
overflow began, so that the storm gathers, each further one 10 s after the last.

    calm ──more due than room──▶ storm ──digest_at──▶ digest, storm
      ▲                            │
      └──── all that is due has room ┘
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WINDOW_MS: Final = 10_000
SINGLES: Final = 5
GATHER_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Burst:
    """A channel's counters. `times`: claims of messages in the last window (ms); `digest_at`: 0 when calm.

    `version` grows with every change and lets one of several racing workers win.
    """

    version: str = ""
    times: tuple[int, ...] = ()
    digest_at: int = 0
    last_digest: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now: claim `singles` one by one, or all as one digest, or look again at `wait_until` (ms, 0: no wait).

    `after` are the counters once that is done.
    """

    after: Burst
    singles: int = 0
    digest: bool = False
    wait_until: int = 0


def decide(burst: Burst, due: int, places: int, now: int) -> Step:
    """What a worker may claim for a channel that has `due` deliveries due and `places` free in flight."""
    times = tuple(t for t in burst.times if t > now - WINDOW_MS)
    room = max(0, SINGLES - len(times))
    storm = burst.digest_at > 0
    if due <= room:
        return _singles(burst, times, min(due, places), now)
    if storm and now >= burst.digest_at and places > 0:
        return Step(Burst(burst.version, (*times, now), now + WINDOW_MS, now), digest=True)
    if storm:
        wait = min(burst.digest_at, _calm_at(times, due)) if now < burst.digest_at else 0
        return Step(Burst(burst.version, times, burst.digest_at, burst.last_digest), wait_until=wait)
    digest_at = max(now + GATHER_MS, burst.last_digest + WINDOW_MS if burst.last_digest else 0)
    taken = min(room, places)
    after = Burst(burst.version, (*times, *[now] * taken), digest_at, burst.last_digest)
    return Step(after, singles=taken, wait_until=digest_at)


def repeat(burst: Burst, messages: int, now: int) -> Step:
    """Messages that may have been sent before go out again at once: they take room from new ones and wait for none."""
    times = tuple(t for t in burst.times if t > now - WINDOW_MS)
    after = Burst(burst.version, (*times, *[now] * messages), burst.digest_at, burst.last_digest)
    return Step(after, singles=messages)


def _singles(burst: Burst, times: Sequence[int], taken: int, now: int) -> Step:
    return Step(Burst(burst.version, (*times, *[now] * taken), 0, burst.last_digest), singles=taken)


def _calm_at(times: Sequence[int], due: int) -> int:
    """When enough old messages have left the window for all that is due, as far as is known now."""
    surplus = len(times) + due - SINGLES
    if surplus > len(times):
        return max(times, default=0) + 100 * WINDOW_MS
    return sorted(times)[surplus - 1] + WINDOW_MS
