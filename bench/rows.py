"""The rows in the order of the page; each is the file of its name."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`what`: what is measured, in a sentence or two for the page."""

    name: str
    what: str


ROWS = (
    Row(
        "ingest",
        "Durable heartbeats per second of one collector process on one core, with token check, validation, transitions "
        "and metrics, beside a bare uvicorn app on that core. 64 keep-alive clients.",
    ),
    Row("ingest_clients", "The same by the number of clients at once."),
    Row("ingest_connections", "The same with a new connection for each heartbeat."),
    Row("ingest_latency", "The p99 at half of the greatest load, beside the bare app's at the same rate."),
    Row(
        "scaling",
        "What a second collector adds, what many shards cost, and what Redis alone takes. [Scaling](scaling.md) counts "
        "with it.",
    ),
    Row("growth", "What one heartbeat costs as monitors grow a thousandfold."),
    Row("memory", "Redis' memory per monitor, and what each process holds."),
    Row("detection", "How long after its deadline a silent monitor is declared dead."),
    Row("storm", "A thousand deaths at once, each told to a channel of its own."),
    Row("mass_death", "A hundred thousand deaths at one moment, all told to one channel."),
    Row(
        "deliveries", "Webhook deliveries with signature, ledger and history, beside a loop that only posts."
    ),
    Row("isolation", "What healthy webhooks notice of hanging and dripping ones."),
    Row("retention", "Redis' memory over many deliveries: history is bounded."),
    Row("live", "Live messages to a thousand WebSocket clients, beside a bare broadcast loop."),
    Row("live_idle", "What an idle WebSocket client costs."),
    Row("api", "`GET /api/status` and the dashboard among many monitors."),
)
