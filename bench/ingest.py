"""Durable heartbeats/s of one collector on one core, beside a bare uvicorn app on that core, in turns.

    python bench/ingest.py [runs]

Needs wrk. Goal (DESIGN 8): at least 0.60 of the bare app, with 64 keep-alive clients. Redis (append-only file,
everysec) and wrk share the other core; their load is printed, for whoever is at its limit is what was measured.
"""

import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from ground import process, table
from servers import Server, binaries

from services.collector.app import create_app
from shared import monitors
from shared.connection import connect
from shared.monitors import NewMonitor
from shared.schema import open_store
from shared.settings import Settings

CLIENTS = 64
SECONDS = 4
OPTIONS: dict[str, Any] = {
    "loop": "uvloop",
    "http": "httptools",
    "access_log": False,
    "log_level": "error",
    "server_header": False,
    "proxy_headers": False,
}
SCRIPT = """
local n = 0
request = function()
  n = (n + 1) %% %d
  return wrk.format("POST", "/api/heartbeat/token-" .. n, nil, '{"status": "ok"}')
end
"""


async def bare_app(scope: Any, receive: Any, send: Any) -> None:
    """What any ASGI app has to do at least: read the body, answer."""
    if scope["type"] != "http":
        return
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"16")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"result": "ok"}'})


async def serve(pipe: Any, app: Any, lifespan: str) -> None:
    options = OPTIONS | {"http": getattr(app, "protocol", "httptools")}
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan=lifespan, **options))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    pipe.send((server.servers[0].sockets[0].getsockname()[1], os.getpid()))
    await task


def bare(pipe: Any) -> None:
    os.sched_setaffinity(0, {0})
    uvloop.run(serve(pipe, bare_app, "off"))


def collector(pipe: Any, url: str) -> None:
    os.sched_setaffinity(0, {0})

    async def run() -> None:
        store = await open_store(connect(url), 1)
        for number in range(CLIENTS):
            await monitors.create(store, NewMonitor(name=f"m{number}", token=f"token-{number}"))
        await serve(pipe, create_app(store, Settings(redis_url=url, _env_file=None)), "on")

    uvloop.run(run())


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port: int, script: Path) -> float:
    """Requests per second that wrk saw; fails on any answer but 200."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{CLIENTS}", f"-d{SECONDS}", "-s", str(script)]
    out = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]


def main(runs: int) -> None:
    if not shutil.which("wrk"):
        sys.exit("this row needs wrk (Debian's package wrk)")
    name = os.environ.get("PULSE_BENCH_SERVER", "valkey")
    with tempfile.TemporaryDirectory(prefix="pulse-bench-") as folder:
        script = Path(folder) / "beats.lua"
        script.write_text(SCRIPT % CLIENTS)
        server = Server(name, binaries()[name], Path(folder))
        server.start("--appendonly", "yes", "--appendfsync", "everysec")
        assert server.process is not None
        os.sched_setaffinity(server.process.pid, {1})
        ratios, rows = [], []
        with process(bare) as (bare_port, bare_pid), process(collector, server.url) as (port, pid):
            load(bare_port, script), load(port, script)
            for run in range(1, runs + 1):
                before = cpu_seconds(bare_pid)
                ceiling = load(bare_port, script)
                bare_cpu = (cpu_seconds(bare_pid) - before) / SECONDS
                before = cpu_seconds(pid)
                redis_before = cpu_seconds(server.process.pid)
                ours = load(port, script)
                cpu = (cpu_seconds(pid) - before) / SECONDS
                redis_cpu = (cpu_seconds(server.process.pid) - redis_before) / SECONDS
                ratios.append((ours / ceiling, (bare_cpu / ceiling) / (cpu / ours)))
                text = (
                    f"bare {ceiling:,.0f}/s at {bare_cpu:.0%} of the core · heartbeats {ours:,.0f}/s at {cpu:.0%}"
                    f", Redis {redis_cpu:.0%} · ratio {ratios[-1][0]:.2f}, of CPU {ratios[-1][1]:.2f}"
                )
                rows.append((f"run {run}", text))
        server.stop()
    rows.append(("median ratio (goal 0.60)", f"{statistics.median(r for r, _ in ratios):.2f}"))
    rows.append(("median ratio of CPU per request", f"{statistics.median(r for _, r in ratios):.2f}"))
    table(f"heartbeats, one collector on one core, {CLIENTS} clients, {name}, n = {runs}", rows)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
