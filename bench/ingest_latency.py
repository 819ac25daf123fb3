"""The p99 of a heartbeat at half the collector's greatest load, beside a bare uvicorn app at the same rate, in turns.

    python bench/ingest_latency.py [runs]

Goal: at most 5 times the bare app's. Arrivals are open-loop: 256 connections with random pauses.
"""

import statistics
import sys

from bare import bare
from ground import process, serving, settings_for
from ingest import CLIENTS
from load import beats, median, wrk
from loading import fill
from report import Measure, progress, report
from running import running

SECONDS = 4
CONNECTIONS = 256


def main(runs: int) -> None:
    script = beats(range(CLIENTS))
    bares, ours = [], []
    with serving(core=1) as server, process(bare) as (bare_port, _):
        fill(server.url, range(CLIENTS), quiet=True)
        with running("collector", settings_for(server.url), core=0) as collector:
            port = collector.port
            wrk(port, script, 1, CLIENTS, core=1)
            rate = wrk(port, script, SECONDS, CLIENTS, core=1).rate / 2
            for done in range(runs):
                bares.append(wrk(bare_port, script, SECONDS, CONNECTIONS, core=1, rate=rate))
                ours.append(wrk(port, script, SECONDS, CONNECTIONS, core=1, rate=rate))
                progress("runs", done + 1, runs)
    ratio = statistics.median(o.p99 / b.p99 for o, b in zip(ours, bares, strict=True))
    measures = [
        Measure(
            name,
            f"{median(loads, 'rate'):,.0f}/s, p50 {median(loads, 'p50'):.2f} ms, p99 {median(loads, 'p99'):.2f} ms",
        )
        for name, loads in (("bare uvicorn app", bares), ("heartbeats", ours))
    ]
    measures.append(Measure("ratio of p99", f"{ratio:.1f}", ratio, 5))
    report(f"latency at half load ({rate:,.0f}/s asked for), n = {runs} runs", measures)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
