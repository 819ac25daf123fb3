"""Durable heartbeats/s by the number of clients at once, beside a bare uvicorn app on the same core: a plot.

python bench/ingest_clients.py [seconds each]
"""

import sys

from ground import process, serving
from ingest import CLIENTS, bare, collector
from load import beats, wrk
from report import Curve, Measure, report

CONCURRENT = (1, 4, 16, 64, 256, 1_000)


def main(seconds: float) -> None:
    script = beats(range(CLIENTS))
    rows, ceilings, ours = [], [], []
    with (
        serving(core=1) as server,
        process(bare) as (bare_port, _),
        process(collector, server.url) as (port, _),
    ):
        wrk(port, script, 1, CLIENTS, core=1)
        for clients in CONCURRENT:
            ceiling = wrk(bare_port, script, seconds, clients, core=1)
            made = wrk(port, script, seconds, clients, core=1)
            ceilings.append((float(clients), ceiling.rate))
            ours.append((float(clients), made.rate))
            text = (
                f"{made.rate:,.0f}/s, p99 {made.p99:.1f} ms; "
                f"bare {ceiling.rate:,.0f}/s, p99 {ceiling.p99:.1f} ms; ratio {made.rate / ceiling.rate:.2f}"
            )
            rows.append(Measure(f"{clients:,} clients", text))
    report(
        "heartbeats by clients at once, one collector on one core",
        rows,
        [Curve("ingest", "heartbeats", tuple(ours)), Curve("ingest", "bare uvicorn app", tuple(ceilings))],
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3)
