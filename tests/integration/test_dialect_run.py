"""The dialect of `/p/{key}/{monitor}`, as its clients speak it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator

import cronitor
import pytest
import requests
from collecting import Collector, collecting
from requests.adapters import HTTPAdapter

from services.collector.limits import ALLOWED
from shared.connection import Store


@pytest.fixture
async def collector(store: Store) -> AsyncIterator[Collector]:
    async with collecting(store) as served:
        yield served


@pytest.mark.parametrize(
    ("query", "status", "beat"),
    [
        ("", "alive", ("ok", "", "")),
        ("?state=run", "new", ("start", "", "")),
        ("?state=complete", "alive", ("ok", "", "")),
        ("?state=ok&message=fine", "alive", ("ok", "", "fine")),
        ("?state=fail&message=disk+full", "error", ("error", "", "disk full")),
        ("?state=fail&status_code=2", "error", ("error", "", "exit status 2")),
        ("?state=complete&status_code=0", "alive", ("ok", "", "")),
        ("?state=complete&status_code=-9", "error", ("error", "", "exit status -9")),
        ("?state=run&status_code=1", "new", ("start", "", "")),
        ("?state=&host=db1&metric=count:3&env=production&stamp=1.5", "alive", ("ok", "", "")),
    ],
)
async def test_a_report_is_a_heartbeat(
    collector: Collector, query: str, status: str, beat: tuple[str, str, str]
) -> None:
    """By a ping key and a slug; a status code other than 0 is an error."""
    key = await collector.token("ping")
    monitor_id, _ = await collector.monitor()
    answer = await collector.client.get(f"{collector.url}/p/{key}/api-worker{query}")
    assert (answer.status_code, answer.text) == (200, "OK")
    assert (await collector.read(monitor_id)).status == status
    assert await collector.beats(monitor_id) == [beat]


async def test_tokens_stand_for_the_key_and_for_the_slug(collector: Collector) -> None:
    """Any method; a slug comes before another monitor's token of the same letters."""
    key = await collector.token("ping")
    slugged, _ = await collector.monitor("nightly")
    tokened, token = await collector.monitor("other", token="nightly")
    uuid_only, uuid = await collector.monitor("third")
    for path in (f"{key}/nightly", f"{token}/anything", f"{key}/{uuid}/"):
        assert (await collector.client.post(f"/p/{path}?state=run")).status_code == 200
    for monitor_id in (slugged, tokened, uuid_only):
        assert [kind for kind, _, _ in await collector.beats(monitor_id)] == ["start"]


async def test_what_is_refused_says_why(collector: Collector) -> None:
    """A status and a sentence; nothing is recorded."""
    monitor_id, _ = await collector.monitor()
    await collector.monitor("twin")
    await collector.monitor("twin")
    key, reader = await collector.token("ping"), await collector.token("read")
    cases = [
        ("/p/", 404, "the path is /p/{key}/{monitor}"),
        (f"/p/{key}", 404, "the path is /p/{key}/{monitor}"),
        (f"/p/{key}/api-worker/more", 404, "the path is /p/{key}/{monitor}"),
        (f"/p/{key}/missing", 404, "not found"),
        (f"/p/{key}/twin", 409, "ambiguous slug"),
        (f"/p/{key}/api-worker?state=paused", 400, "state must be run, complete, fail or ok"),
        (f"/p/{key}/api-worker?state=fail&status_code=x", 400, "status_code must be an integer"),
        ("/p/nobody/api-worker", 403, "this token is not known here; it may have been revoked"),
        (f"/p/{reader}/api-worker", 403, "this token is not known here; it may have been revoked"),
    ]
    for path, status, text in cases:
        answer = await collector.client.get(path)
        assert (answer.status_code, answer.text) == (status, text), path
    for _ in range(ALLOWED):
        limited = await collector.client.get("/p/nobody/api-worker")
    assert limited.status_code == 429
    assert await collector.beats(monitor_id) == []


async def test_the_shell_recipe_works_unchanged(collector: Collector) -> None:
    """The line of the other monitor's manual."""
    key = await collector.token("ping")
    monitor_id, _ = await collector.monitor()
    command = [
        "curl",
        "-fsS",
        "-m",
        "10",
        "--retry",
        "5",
        f"{collector.url}/p/{key}/api-worker?state=complete",
    ]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (0, "OK")
    assert len(await collector.beats(monitor_id)) == 1


class Elsewhere(HTTPAdapter):
    """Sends what is meant for the other monitor's host, which its client has built in, to ours."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def send(self, request: requests.PreparedRequest, *args: object, **kwargs: object) -> requests.Response:
        request.url = request.url.replace("https://cronitor.link", self.url)
        return super().send(request, *args, **kwargs)  # type: ignore[arg-type]


async def test_the_client_of_another_monitor_works_unchanged(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cronitor: its decorator pairs each run with its end; only the host is another."""
    key = await collector.token("ping")
    monitor_id, _ = await collector.monitor()
    session = requests.Session()
    session.mount("https://cronitor.link", Elsewhere(collector.url))
    monkeypatch.setattr(cronitor.Monitor, "_req", session)
    monkeypatch.setattr(cronitor, "api_key", key)

    @cronitor.job("api-worker")
    def job(fail: bool) -> str:
        if fail:
            raise ValueError("disk full")
        return "7 rows"

    await asyncio.to_thread(job, False)
    with pytest.raises(ValueError, match="disk full"):
        await asyncio.to_thread(job, True)
    await asyncio.to_thread(cronitor.Monitor("api-worker").ok)
    session.close()
    beats = list(reversed(await collector.beats(monitor_id)))
    assert [(kind, message) for kind, _, message in beats] == [
        ("start", ""),
        ("ok", "7 rows"),
        ("start", ""),
        ("error", "disk full"),
        ("ok", ""),
    ]
    assert int(beats[1][1]) >= 0
    assert int(beats[3][1]) >= 0
