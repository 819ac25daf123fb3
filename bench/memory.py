"""Bytes of Redis' memory per monitor, and what each process holds beside them.

    python bench/memory.py [monitors] [monitors with a full log]

Goals at 1,000,000: 800 bytes on Redis 7.0, 600 on Valkey 9.1, all keys of a monitor that is alive without its log of
recent heartbeats; 6,000 with a full log. The monitors are made and beaten by the product's own scripts; then the logs
are deleted. The stream of events is no monitor's and is emptied. The processes are looked at after the collector took a
heartbeat of every monitor and each was asked for what it reads of them.
"""

import sys
import time
import urllib.request
from contextlib import ExitStack

import redis
from ground import TOKEN, binaries, resident, serving, settings_for
from load import heard
from loading import LOGGED, SLACK, fill
from report import Curve, Measure, report
from running import SERVICES, running

from shared import keys

NAMES = {"redis-server": "Redis", "valkey": "Valkey"}
GOALS = {"redis-server": 800, "valkey": 600}
READ = {"collector": "/api/status?limit=100", "admin": "/api/monitors?limit=100", "webhooks": "/webhooks"}
"""What is asked of the processes that answer."""


def used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])  # type: ignore[index, arg-type]


def without_logs(client: redis.Redis, ids: list[str]) -> None:
    for start in range(0, len(ids), 1_000):
        client.unlink(*[keys.beats(0, name) for name in ids[start : start + 1_000]])
    client.xtrim(keys.events(0), maxlen=0, approximate=False)
    while client.info("memory").get("lazyfree_pending_objects"):  # type: ignore[union-attr]
        time.sleep(0.01)


def per_monitor(name: str, count: int) -> tuple[list[tuple[float, float]], list[Measure]]:
    """Bytes per monitor at each power of ten up to `count`, and the processes' memory at the end."""
    points: list[tuple[float, float]] = []
    with serving(name, options=("--appendonly", "no")) as server:
        client = redis.Redis.from_url(server.url, decode_responses=True)
        empty, done, size = used(client), 0, 1_000
        while done < count:
            size = min(size, count)
            without_logs(client, fill(server.url, range(done, size)))
            done, size = size, size * 10
            points.append((done, (used(client) - empty) / done))
        processes = beside(server.url, count) if name == "valkey" else []
        client.close()
    return points, processes


def beside(url: str, count: int) -> list[Measure]:
    """What each process holds after the collector met all monitors and each was asked for what it reads of them."""
    settings = settings_for(url)
    with ExitStack() as stack:
        found = {service: stack.enter_context(running(service, settings)) for service in SERVICES}
        heard(found["collector"].port, count)
        for service, path in READ.items():
            request = urllib.request.Request(
                found[service].url + path, headers={"Authorization": f"Bearer {TOKEN}"}
            )
            urllib.request.urlopen(request, timeout=60).read()
        time.sleep(2)
        return [
            Measure(f"{service}: resident", f"{resident(one.pid) / 2**20:.0f} MiB")
            for service, one in found.items()
        ]


def full_log(name: str, count: int) -> float:
    """Bytes per monitor with the longest log of heartbeats that a monitor can have."""
    with serving(name, options=("--appendonly", "no")) as server:
        client = redis.Redis.from_url(server.url, decode_responses=True)
        empty = used(client)
        fill(server.url, range(count), beats=LOGGED + SLACK - 1)
        found = (used(client) - empty) / count
        client.close()
    return found


def main(count: int, logged: int) -> None:
    measures, curves = [], []
    for name in [one for one in GOALS if one in binaries()]:
        points, processes = per_monitor(name, count)
        size = points[-1][1]
        measures.append(Measure(f"{NAMES[name]}, per monitor", f"{size:,.0f} bytes", size, GOALS[name]))
        size = full_log(name, logged)
        text = f"{size:,.0f} bytes, n = {logged:,}"
        measures.append(Measure(f"{NAMES[name]}, with a full log", text, size, 6_000))
        measures += processes
        curves.append(Curve("memory", NAMES[name], tuple(points)))
    report(f"memory, n = {count:,} monitors", measures, curves)


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    main(numbers[0] if numbers else 1_000_000, numbers[1] if len(numbers) > 1 else 20_000)
