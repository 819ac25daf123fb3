"""Durable heartbeats/s by the number of clients at once, beside a bare uvicorn app on the same core: a plot.

python bench/ingest_clients.py [seconds each]
"""

import sys

from bare import bare
from ground import process, serving, settings_for
from ingest import CLIENTS
from load import beats, wrk
from loading import fill
from report import Curve, Measure, report
from running import running

CONCURRENT = (1, 4, 16, 64, 256, 1_000)


def main(seconds: float) -> None:
    script = beats(range(CLIENTS))
    rows, ceilings, ours = [], [], []
    with serving(core=1) as server, process(bare) as (bare_port, _):
        fill(server.url, range(CLIENTS), quiet=True)
        with running("collector", settings_for(server.url), core=0) as collector:
            port = collector.port
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
