"""Durable heartbeats/s with a new connection for each, beside a bare uvicorn app asked the same way, in turns.

    python bench/ingest_connections.py [runs]

Goal: at least 0.60 of the bare app, on the same core. wrk and Redis share the other core.
"""

import statistics
import sys

from bare import bare
from ground import process, serving, settings_for
from ingest import CLIENTS
from load import beats, wrk
from loading import fill
from report import Measure, progress, report
from running import running

SECONDS = 3


def main(runs: int) -> None:
    script = beats(range(CLIENTS), close=True)
    rates: list[tuple[float, float]] = []
    with serving(core=1) as server, process(bare) as (bare_port, _):
        fill(server.url, range(CLIENTS), quiet=True)
        with running("collector", settings_for(server.url), core=0) as collector:
            port = collector.port
            for run in range(runs + 1):
                ceiling = wrk(bare_port, script, SECONDS, CLIENTS, core=1)
                ours = wrk(port, script, SECONDS, CLIENTS, core=1)
                if run:  # the first warms both up
                    rates.append((ours.rate, ceiling.rate))
                progress("runs", run, runs)
    ratio = statistics.median(ours / ceiling for ours, ceiling in rates)
    ours, ceiling = (statistics.median(side) for side in zip(*rates, strict=True))
    report(
        f"heartbeats, a new connection each, one collector on one core, n = {runs} runs",
        [
            Measure("bare uvicorn app", f"{ceiling:,.0f}/s"),
            Measure("heartbeats", f"{ours:,.0f}/s"),
            Measure("ratio", f"{ratio:.2f}", ratio, 0.60, at_least=True),
        ],
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
