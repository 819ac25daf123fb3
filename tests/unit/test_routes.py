"""The table of routes, its Caddyfiles, and the apps behind it say the same."""

import re
from pathlib import Path

import pytest

from shared import routes

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", routes.CADDYFILES)
def test_caddyfile_holds_the_table(name: str):
    """A Caddyfile differs from shared/routes.py only until `make routes`."""
    text = (ROOT / name).read_text()
    assert routes.snippet() in text
    assert routes.rewritten(text) == text


@pytest.mark.parametrize("name", routes.CADDYFILES)
def test_caddyfile_hands_each_matcher_to_its_service(name: str):
    """Every service of the table has its own block, the rest goes to admin, and what is not routed is a 404."""
    text = (ROOT / name).read_text()
    blocks = re.findall(r"^\thandle (?:@(\w+) )?\{\n(.*?)^\t\}", text, re.MULTILINE | re.DOTALL)
    named = {matcher: body for matcher, body in blocks if matcher != "large"}
    assert set(named) == {*routes.ROUTES, "unrouted", ""}
    assert "error 404" in named["unrouted"]
    upstreams = {
        matcher: re.search(r"reverse_proxy (\w+):8000 |127\.0\.0\.1:(\d+)", body)
        for matcher, body in named.items()
    }
    found = {matcher: match[1] or match[2] for matcher, match in upstreams.items() if match}
    assert found in (
        {"collector": "collector", "webhooks": "webhooks", "": routes.REST},
        {"collector": "8001", "webhooks": "8002", "": "8003"},
    )


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/api/heartbeat/abc/start", "collector"),
        ("/api/status", "collector"),
        ("/api/status/", "admin"),
        ("/heartbeat", "collector"),
        ("/events", "collector"),
        ("/ping/key/slug", "collector"),
        ("/api/v1/endpoints/group_name/external", "collector"),
        ("/webhooks", "webhooks"),
        ("/webhooks/1/deliveries", "webhooks"),
        ("/webhooksx", "admin"),
        ("/ws", "webhooks"),
        ("/ws/ticket", "webhooks"),
        ("/", "admin"),
        ("/ui/monitors", "admin"),
        ("/api/monitors", "admin"),
        ("/status", "admin"),
        ("/badge/x.svg", "admin"),
        ("/metrics", None),
        ("/healthz", None),
        ("/readyz", None),
    ],
)
def test_path_goes_to_its_service(path: str, service: str | None):
    """A path belongs to the service whose pattern names it, else to admin; health and metrics to none."""
    assert routes.service_of(path) == service
