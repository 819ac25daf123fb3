"""The dialect of `/ping/…`, as its clients speak it."""

import asyncio
import subprocess
import uuid
from collections.abc import AsyncIterator

import healthchecks_wrapper
import pytest
from collecting import Collector, collecting
from healthchecks_decorator import healthcheck

from services.collector.limits import ALLOWED
from shared import monitors, scripts
from shared.connection import Store

RID = "728b3763-ea1e-4f4e-b0f5-0f0f4f4c4b4a"


@pytest.fixture
async def collector(store: Store) -> AsyncIterator[Collector]:
    async with collecting(store) as served:
        yield served


@pytest.mark.parametrize(
    ("action", "status", "kind"),
    [
        ("", "alive", "ok"),
        ("/", "alive", "ok"),
        ("/start", "new", "start"),
        ("/log", "new", "log"),
        ("/fail", "error", "error"),
        ("/0", "alive", "ok"),
        ("/1", "error", "error"),
        ("/255", "error", "error"),
        ("/007", "error", "error"),
        ("?anything=else", "alive", "ok"),
    ],
)
async def test_a_ping_by_uuid_is_a_heartbeat(
    collector: Collector, action: str, status: str, kind: str
) -> None:
    """Success, start, fail, log and exit statuses; `OK` with the headers that clients look at."""
    monitor_id, token = await collector.monitor()
    answer = await collector.client.get(f"/ping/{token}{action}")
    assert (answer.status_code, answer.text) == (200, "OK")
    assert answer.headers["Ping-Body-Limit"] == "10000"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert (await collector.read(monitor_id)).status == status
    assert (await collector.beats(monitor_id))[0][0] == kind


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_any_method_pings(collector: Collector, method: str) -> None:
    """As these clients use; a body becomes the message."""
    monitor_id, token = await collector.monitor()
    answer = await collector.client.request(method, f"/ping/{token}/fail", content="disk full")
    assert answer.status_code == 200
    assert answer.text == ("" if method == "HEAD" else "OK")
    assert await collector.beats(monitor_id) == [("error", "", "disk full")]


async def test_a_monitor_for_posts_alone_ignores_other_methods(collector: Collector) -> None:
    """A link preview is answered, and does not beat it."""
    monitor_id, token = await collector.monitor(methods="post")
    assert (await collector.client.get(f"/ping/{token}")).text == "OK"
    assert await collector.beats(monitor_id) == []
    await collector.client.post(f"/ping/{token}")
    assert len(await collector.beats(monitor_id)) == 1


async def test_a_long_body_is_cut_and_a_huge_one_refused(collector: Collector) -> None:
    """10,000 bytes are kept, cut between characters; 413 above 1 MiB."""
    monitor_id, token = await collector.monitor()
    body = b"\xff" + "ж".encode() * 10_000
    assert (await collector.client.post(f"/ping/{token}", content=body)).status_code == 200
    ((_, _, message),) = await collector.beats(monitor_id)
    assert message == "\ufffd" + "ж" * ((10_000 - 3) // 2)
    assert (await collector.client.post(f"/ping/{token}", content=b"x" * 1_048_577)).status_code == 413


async def test_an_exit_status_without_a_body_is_its_own_message(collector: Collector) -> None:
    """The one who is told should know which."""
    monitor_id, token = await collector.monitor()
    await collector.client.get(f"/ping/{token}/3")
    await collector.client.post(f"/ping/{token}/4", content="trace")
    assert await collector.beats(monitor_id) == [("error", "", "trace"), ("error", "", "exit status 3")]


async def test_a_duration_is_kept_when_the_rids_match(collector: Collector) -> None:
    """A start pairs with the end of the same run, however the rid is written."""
    monitor_id, token = await collector.monitor()
    await collector.client.get(f"/ping/{token}/start?rid={RID}")
    await collector.client.get(f"/ping/{token}?rid={RID.upper()}")
    await collector.client.get(f"/ping/{token}/start?rid={RID}")
    await collector.client.get(f"/ping/{token}?rid={uuid.uuid4()}")
    (_, other, _), _, (_, took, _), _ = await collector.beats(monitor_id)
    assert other == ""
    assert int(took) >= 0


async def test_a_ping_by_slug(collector: Collector) -> None:
    """A ping key and a slug reach the same monitor, with every action; its own token works in the place of a UUID."""
    key = await collector.token("ping")
    monitor_id, _ = await collector.monitor("Backup", token="nightly")
    for path in (
        f"{key}/backup/start",
        f"{key}/backup",
        f"{key}/backup/7",
        f"{key}/backup/log",
        "nightly/start",
    ):
        answer = await collector.client.get(f"/ping/{path}")
        assert (answer.status_code, answer.text) == (200, "OK"), path
    kinds = [kind for kind, _, _ in await collector.beats(monitor_id)]
    assert kinds == ["start", "log", "error", "ok", "start"]


BAD_PATHS = [
    ("", 400, "invalid url format"),
    ("/", 400, "invalid url format"),
    ("{token}//", 400, "invalid url format"),
    ("{token}/fail/more/parts", 400, "invalid url format"),
    ("{token}/256", 400, "invalid url format"),
    ("{token}/-1", 400, "invalid url format"),
    ("{token}/1000", 400, "invalid url format"),
    ("{token}/finish", 400, "invalid url format"),
    ("{token}/%D9%A3", 400, "invalid url format"),
    ("a%20b", 400, "invalid url format"),
    ("%D0%B6", 400, "invalid url format"),
    ("{token}?rid=", 400, "invalid uuid format"),
    ("{token}?rid=1", 400, "invalid uuid format"),
    ("{token}?rid=728b3763ea1e4f4eb0f50f0f4f4c4b4a", 400, "invalid uuid format"),
    ("{key}/api-worker/start?rid=x", 400, "invalid uuid format"),
    ("{key}/api-worker/256", 400, "invalid url format"),
    ("{key}/Bad--Slug?create=1", 400, "invalid url format"),
    ("{key}/missing", 404, "not found"),
    ("{key}/missing?create=0", 404, "not found"),
    ("{key}", 404, "not found"),
    ("{other}", 404, "not found"),
    ("{other}/fail", 404, "not found"),
    ("{other}/api-worker?create=1", 404, "not found"),
    ("{reader}/api-worker", 404, "not found"),
    ("{key}/twin", 409, "ambiguous slug"),
    ("{key}/twin?create=1", 409, "ambiguous slug"),
]


async def test_what_is_refused_has_its_words(collector: Collector) -> None:
    """The statuses and texts that clients of this dialect know; nothing is recorded."""
    monitor_id, token = await collector.monitor()
    await collector.monitor("twin")
    await collector.monitor("twin")
    names = {
        "token": token,
        "key": await collector.token("ping"),
        "reader": await collector.token("read"),
        "other": uuid.uuid4(),
    }
    for path, status, text in BAD_PATHS:
        answer = await collector.client.get(f"{collector.url}/ping/{path.format(**names)}")
        assert (answer.status_code, answer.text) == (status, text), path
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert await collector.beats(monitor_id) == []


async def test_a_slug_can_be_created_by_ping(collector: Collector) -> None:
    """201 `Created` once, with a day and an hour of time and every channel; then 200 `OK`."""
    key = await collector.token("ping")
    answer = await collector.client.get(f"/ping/{key}/new-job/start?create=1")
    assert (answer.status_code, answer.text) == (201, "Created")
    answer = await collector.client.get(f"/ping/{key}/new-job?create=1")
    assert (answer.status_code, answer.text) == (200, "OK")
    (monitor_id,) = await monitors.find_by_slug(collector.store, "new-job")
    monitor = await collector.read(monitor_id)
    assert (monitor.name, monitor.status, monitor.channels) == ("new-job", "alive", "*")
    assert (monitor.timeout, monitor.grace) == (86_400_000, 3_600_000)


async def test_creations_that_race_make_one_monitor(collector: Collector) -> None:
    """Ten first pings of one slug at once: one is answered `Created`, none is lost."""
    key = await collector.token("ping")
    pings = [collector.client.get(f"/ping/{key}/new-job?create=1") for _ in range(10)]
    answers = [answer.text for answer in await asyncio.gather(*pings)]
    assert sorted(answers) == ["Created", *["OK"] * 9]
    (monitor_id,) = await monitors.find_by_slug(collector.store, "new-job")
    assert len(await collector.beats(monitor_id)) == 10


async def test_a_revoked_token_is_not_found(collector: Collector) -> None:
    """From the same moment on, though it was used just before."""
    monitor_id, token = await collector.monitor()
    assert (await collector.client.get(f"/ping/{token}/start")).status_code == 200
    new = await monitors.rotate_token(collector.store, await collector.read(monitor_id))
    assert (await collector.client.get(f"/ping/{token}/start")).status_code == 404
    assert (await collector.client.get(f"/ping/{new}")).status_code == 200


async def test_too_many_unknown_tokens_are_limited(collector: Collector) -> None:
    """429 after a while, for keys with slugs too; known tokens are never limited."""
    _, token = await collector.monitor()
    statuses = []
    for number in range(ALLOWED + 2):
        path = f"{uuid.uuid4()}" if number % 2 else f"{uuid.uuid4()}/slug"
        statuses.append((await collector.client.get(f"/ping/{path}")).status_code)
    assert statuses == [404] * ALLOWED + [429] * 2
    assert (await collector.client.get(f"/ping/{token}")).status_code == 200


async def test_a_paused_monitor_answers_ok(collector: Collector) -> None:
    """Its clients must not think that it is gone."""
    monitor_id, token = await collector.monitor()
    await scripts.pause_monitor(collector.store, monitor_id, "pause")
    assert (await collector.client.get(f"/ping/{token}")).text == "OK"
    assert (await collector.read(monitor_id)).status == "paused"


async def run(*command: str) -> tuple[int, str]:
    """Exit status and output of a command."""
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "recipe",
    [
        "curl -fsS -m 10 --retry 5 {url}",
        "curl -fsS -m 10 --retry 5 -o /dev/null {url}",
        "wget {url} -T 10 -t 5 -O /dev/null -q",
        "false; curl -fsS -m 10 --retry 5 {url}/$?",
        'm=$(echo hello); curl -fsS -m 10 --retry 5 --data-raw "$m" {url}/log',
        "true && curl -fsS -m 10 --retry 5 {url} || curl -fsS -m 10 {url}/fail",
    ],
)
async def test_the_shell_recipes_work_unchanged(collector: Collector, recipe: str) -> None:
    """The lines that people have in their crontabs."""
    monitor_id, token = await collector.monitor()
    status, _ = await run("sh", "-c", recipe.format(url=f"{collector.url}/ping/{token}"))
    assert status == 0
    assert len(await collector.beats(monitor_id)) == 1


async def test_the_decorator_of_another_monitor_works_unchanged(collector: Collector) -> None:
    """healthchecks-decorator: start, success with diagnostics, and failure."""
    monitor_id, token = await collector.monitor()

    @healthcheck(url=f"{collector.url}/ping/{token}", send_start=True, send_diagnostics=True)
    def job(fail: bool) -> dict[str, int]:
        if fail:
            raise ValueError("no rows")
        return {"rows": 7}

    await asyncio.to_thread(job, False)
    with pytest.raises(ValueError, match="no rows"):
        await asyncio.to_thread(job, True)
    beats = await collector.beats(monitor_id)
    assert [(kind, message) for kind, _, message in reversed(beats)] == [
        ("start", ""),
        ("ok", "rows=7"),
        ("start", ""),
        ("error", ""),
    ]


async def test_the_context_manager_of_another_monitor_works_unchanged(collector: Collector) -> None:
    """healthchecks-wrapper: start, then success, or failure with the traceback."""
    monitor_id, token = await collector.monitor()

    def job(fail: bool) -> None:
        with healthchecks_wrapper.HealthCheck(f"{collector.url}/ping/{token}", suppress_exceptions=True):
            assert not fail

    await asyncio.to_thread(job, False)
    await asyncio.to_thread(job, True)
    newest, *rest = await collector.beats(monitor_id)
    assert [kind for kind, _, _ in reversed(rest)] == ["start", "ok", "start"]
    assert newest[0] == "error"
    assert "AssertionError" in newest[2]
