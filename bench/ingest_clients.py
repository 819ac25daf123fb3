"""Durable heartbeats/s by the number of clients at once, beside a bare uvicorn app on the same core: a plot.

python bench/ingest_clients.py [runs]
"""

import statistics
import sys

from bare import bare
from ground import process, serving, settings_for
from ingest import CLIENTS
from load import beats, median, wrk
from loading import fill
from report import Curve, Measure, progress, report
from running import running

CONCURRENT = (1, 4, 16, 64, 256, 1_000)


SECONDS = 2


def main(runs: int) -> None:
    script = beats(range(CLIENTS))
    rows, ceilings, ours = [], [], []
    with serving(core=1) as server, process(bare) as (bare_port, _):
        fill(server.url, range(CLIENTS), quiet=True)
        with running("collector", settings_for(server.url), core=0) as collector:
            port = collector.port
            wrk(port, script, 1, CLIENTS, core=1)
            wrk(bare_port, script, 1, CLIENTS, core=1)
            for step, clients in enumerate(CONCURRENT):
                pairs = [
                    (
                        wrk(bare_port, script, SECONDS, clients, core=1),
                        wrk(port, script, SECONDS, clients, core=1),
                    )
                    for _ in range(runs)
                ]
                bares, mades = zip(*pairs, strict=True)
                ratio = statistics.median(made.rate / ceiling.rate for ceiling, made in pairs)
                ceilings.append((float(clients), median(bares, "rate")))
                ours.append((float(clients), median(mades, "rate")))
                text = (
                    f"{ours[-1][1]:,.0f}/s, p99 {median(mades, 'p99'):.1f} ms; "
                    f"bare {ceilings[-1][1]:,.0f}/s, p99 {median(bares, 'p99'):.1f} ms; ratio {ratio:.2f}"
                )
                rows.append(Measure(f"{clients:,} clients", text))
                progress("numbers of clients", step + 1, len(CONCURRENT))
    report(
        f"heartbeats by clients at once, one collector on one core, n = {runs} runs each",
        rows,
        [Curve("ingest", "heartbeats", tuple(ours)), Curve("ingest", "bare uvicorn app", tuple(ceilings))],
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
