"""Which service answers which path: the one table behind the edge's Caddyfiles and the composite app.

`make routes` (`python -m shared.routes`) writes the table into the Caddyfiles; a test fails when they differ.
"""

import re
from pathlib import Path

ROUTES: dict[str, tuple[str, ...]] = {
    "collector": (
        "/api/heartbeat/*",
        "/api/status",
        "/api/fleet",
        "/api/fleet/shops",
        "/api/ingest",
        "/heartbeat",
        "/events",
        "/ping/*",
        "/api/push/*",
        "/api/v1/endpoints/*",
        "/p/*",
    ),
    "webhooks": ("/webhooks", "/webhooks/*", "/ws", "/ws/*"),
}
"""Patterns as Caddy reads them: a path, or a prefix before `*`."""

REST = "admin"
"""Answers every path that no pattern names."""

UNROUTED = ("/metrics", "/healthz", "/readyz")
"""Each process's own; the edge answers 404, `mishpulse up` answers them for the whole group."""

CADDYFILES = ("deploy/Caddyfile", "deploy/systemd/Caddyfile")
_SNIPPET = re.compile(r"^\(routes\) \{\n.*?^\}\n", re.MULTILINE | re.DOTALL)


def service_of(path: str) -> str | None:
    """The service that answers `path`; None for what is not routed."""
    if path in UNROUTED:
        return None
    for service, patterns in ROUTES.items():
        if any(_matches(pattern, path) for pattern in patterns):
            return service
    return REST


def _matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def snippet() -> str:
    """The table as the Caddyfile snippet `(routes)`: one named matcher per service, and `@unrouted`."""
    matchers = {"unrouted": UNROUTED, **ROUTES}
    lines = [f"\t@{name} path {' '.join(patterns)}\n" for name, patterns in matchers.items()]
    return "(routes) {\n\t# Made from shared/routes.py by `make routes`.\n" + "".join(lines) + "}\n"


def rewritten(caddyfile: str) -> str:
    """The text of a Caddyfile with its `(routes)` snippet made anew."""
    return _SNIPPET.sub(lambda _: snippet(), caddyfile)


def main() -> None:
    """Write the table into every Caddyfile of the checkout that is the current folder."""
    for name in CADDYFILES:
        path = Path(name)
        path.write_text(rewritten(path.read_text()))


if __name__ == "__main__":
    main()
