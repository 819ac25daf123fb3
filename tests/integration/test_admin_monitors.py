"""The admin's monitors: made, found, changed, paused and muted through the API."""

import asyncio
import time

import httpx
import pytest
from admin_api import admin_client

from shared import keys, monitors, scripts
from shared.auth import hash_token
from shared.connection import Store
from shared.errors import NotFound
from shared.events import unpacked
from shared.monitors import NewMonitor


@pytest.fixture
async def api(store: Store):
    async with admin_client(store) as client:
        yield client


async def make(api: httpx.AsyncClient, **fields) -> dict:
    answer = await api.post("/api/monitors", json={"name": "api-worker", **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def beat(store: Store, made: dict, kind: scripts.Kind = "ok", message: str = "", rid: str = "") -> None:
    target = scripts.monitor_keys(store, made["id"], hash_token(made["token"]))
    await scripts.beat(store.redis, target.shard, [scripts.Beat(target, kind, message=message, rid=rid)])


async def test_a_new_monitor_answers_its_token_once_and_where_to_beat(api: httpx.AsyncClient, store: Store):
    """201 with token, heartbeat_url and the defaults; later answers have no token, Redis has its hash alone."""
    made = await make(api)
    assert made["heartbeat_url"] == f"http://pulse.test/api/heartbeat/{made['token']}"
    assert {name: made[name] for name in ("slug", "status", "timeout", "grace", "channels", "tags")} == {
        "slug": "api-worker",
        "status": "new",
        "timeout": 300,
        "grace": 0,
        "channels": "*",
        "tags": [],
    }
    assert made["due_at"] is made["last_seen"] is None
    assert made["created_at"].endswith("Z")
    seen = (await api.get(f"/api/monitors/{made['id']}")).json()
    assert "token" not in seen
    assert seen == {name: value for name, value in made.items() if name not in {"token", "heartbeat_url"}}
    assert await monitors.find_by_token(store, hash_token(made["token"])) == made["id"]


async def test_every_field_is_kept_as_it_was_sent(api: httpx.AsyncClient):
    """All fields of a monitor come back; durations may be fractions of a second."""
    sent = {
        "name": "Ночной бэкап",
        "timeout": 1.5,
        "grace": 0.25,
        "token": "my-own_Token",
        "slug": "backup_1",
        "schedule": "*/5 * * * *",
        "timezone": "Europe/Berlin",
        "methods": "post",
        "tags": ["prod", "db"],
        "channels": [],
    }
    made = await make(api, **sent)
    assert {name: made[name] for name in sent} == sent


async def test_the_address_of_heartbeats_follows_the_settings_and_the_proxy(store: Store):
    """PULSE_PUBLIC_URL wins; else the Host and, from a trusted proxy, X-Forwarded-Proto."""
    async with admin_client(store, public_url="https://pulse.example/") as client:
        made = await make(client)
        assert made["heartbeat_url"] == f"https://pulse.example/api/heartbeat/{made['token']}"
    async with admin_client(store) as client:
        client.headers.update({"X-Forwarded-Proto": "https", "Host": "edge.example:8443"})
        assert (await make(client))["heartbeat_url"].startswith("https://edge.example:8443/api/")
        client.headers["Host"] = "<script>"
        assert "<" not in (await make(client))["heartbeat_url"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "a\0b"}, "NUL"),
        ({"name": "x" * 256}, "name"),
        ({"name": 7}, "name"),
        ({"name": None}, "name"),
        ({"timeout": 0.9}, "timeout"),
        ({"timeout": 31_536_001}, "timeout"),
        ({"timeout": "300"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": 10**400}, "timeout"),
        ({"grace": -1}, "grace"),
        ({"token": "ab"}, "token"),
        ({"token": "a" * 65}, "token"),
        ({"token": "a/b/c"}, "token"),
        ({"token": "abcd\n"}, "token"),
        ({"slug": "No Slug"}, "slug"),
        ({"schedule": "* * *"}, "'* * *' is no cron schedule that fires: wrong number of fields"),
        ({"schedule": "0 0 30 2 *"}, "cron"),
        ({"schedule": "²" * 5}, "cron"),
        ({"timezone": "Mars/Olympus"}, "time zone"),
        ({"timezone": "../../etc/passwd"}, "time zone"),
        ({"methods": "GET"}, "methods"),
        ({"tags": "prod"}, "tags"),
        ({"tags": [""]}, "tags"),
        ({"tags": [str(n) for n in range(21)]}, "tags"),
        ({"channels": [99]}, "there is no channel 99"),
        ({"channels": [2**63]}, "channels"),
        ({"channels": ["on call"]}, "channels.0: Input should be a valid integer"),
        ({"channels": "all"}, "channels: Input should be '*'"),
    ],
)
async def test_what_is_wrong_is_named(api: httpx.AsyncClient, fields: dict, words: str):
    """422 with a sentence about the field; the same in a PATCH."""
    answer = await api.post("/api/monitors", json={"name": "api-worker", **fields})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert (await api.get("/api/monitors")).json()["total"] == 0
    if not {"token"} & set(fields):
        made = await make(api)
        changed = await api.patch(f"/api/monitors/{made['id']}", json=fields)
        assert changed.status_code == 422, fields
        assert words in changed.json()["detail"]


async def test_where_a_document_stops_being_json_is_told(api: httpx.AsyncClient):
    """What was expected, and at which character."""
    answer = await api.post(
        "/api/monitors", content=b'{"name": oops', headers={"Content-Type": "application/json"}
    )
    assert answer.json()["detail"] == "the body is not JSON: Expecting value at character 9"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b"", "application/json"),
        (b"null", "application/json"),
        (b'"\\ud800"', "application/json"),
        (b'{"name": "\\ud800"}', "application/json"),
        (b'{"\\ud800": 1}', "application/json"),
        (b'{"name": "\xff"}', "application/json"),
        (b'{"name": "x", "timeout": NaN}', "application/json"),
        (b'{"name": "x", "timeout": 1e999}', "application/json"),
        (b'{"name": "x", "timeout": ' + b"9" * 5000 + b"}", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"name=x", "application/x-www-form-urlencoded"),
        (b'{"name": "x"}', "text/plain"),
        (b'{"name": "x"}', "\x80;;;=\x80"),
    ],
)
async def test_a_body_that_is_no_json_document_is_refused(api: httpx.AsyncClient, body: bytes, kind: str):
    """422 and a sentence, whatever the bytes or the content type."""
    answer = await api.post(
        "/api/monitors", content=body, headers=[(b"Content-Type", kind.encode("latin-1"))]
    )
    assert answer.status_code == 422
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("POST", "/api/monitors", 422, "send a JSON object, with the header Content-Type: application/json"),
        ("GET", "/api/monitor", 404, "there is nothing at this path"),
        ("PUT", "/api/monitors/x/pause", 405, "this path takes POST"),
    ],
)
async def test_an_error_says_what_to_do(
    api: httpx.AsyncClient, method: str, path: str, status: int, sentence: str
):
    """Also where only the framework noticed it: no type of content, no such path, no such method."""
    answer = await api.request(method, path, content=b'{"name": "x"}')
    assert (answer.status_code, answer.json()) == (status, {"detail": sentence})


async def test_a_body_over_a_mebibyte_is_refused_before_it_is_read(api: httpx.AsyncClient):
    """413, with an announced length or in chunks without one."""
    body = b'{"name": "' + b"x" * 1_100_000 + b'"}'

    async def chunks():
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    for content in (body, chunks()):
        answer = await api.post(
            "/api/monitors", content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413
        assert "1,048,576" in answer.json()["detail"]


async def test_a_token_belongs_to_one_monitor(api: httpx.AsyncClient):
    """409 for a token that another monitor has."""
    await make(api, token="shared-token")
    answer = await api.post("/api/monitors", json={"name": "other", "token": "shared-token"})
    assert answer.status_code == 409
    assert "another monitor has this token" in answer.json()["detail"]


async def test_a_patch_changes_what_it_names(api: httpx.AsyncClient, store: Store):
    """Absent stays, null goes back to the default, the deadline moves with the timeout."""
    made = await make(api, timeout=60, grace=5, slug="old", tags=["a"], methods="post", timezone="Asia/Tokyo")
    await beat(store, made)
    url = f"/api/monitors/{made['id']}"
    changed = (await api.patch(url, json={"name": "renamed", "timeout": 600})).json()
    assert (changed["name"], changed["timeout"], changed["grace"], changed["slug"]) == (
        "renamed",
        600,
        5,
        "old",
    )
    monitor = await monitors.get(store, made["id"])
    assert await store.redis.zscore(keys.deadlines(0), made["id"]) == monitor.seen + 605_000
    nulls = dict.fromkeys(("grace", "slug", "tags", "methods", "timezone", "schedule", "channels"))
    cleared = (await api.patch(url, json=nulls)).json()
    assert {name: cleared[name] for name in nulls} == {
        "grace": 0,
        "slug": "",
        "tags": [],
        "methods": "",
        "timezone": None,
        "schedule": None,
        "channels": "*",
    }
    assert await monitors.find_by_slug(store, "old") == []
    assert (await api.patch(url, json={})).json() == cleared
    assert (await api.patch(url, json=cleared)).status_code == 200


async def test_a_schedule_needs_a_time_zone_that_exists_together_with_it(api: httpx.AsyncClient):
    """A PATCH of one of the two is judged with the other as it is stored."""
    made = await make(api, schedule="0 3 * * *")
    url = f"/api/monitors/{made['id']}"
    assert (await api.patch(url, json={"timezone": "Nowhere/Land"})).status_code == 422
    assert (await api.patch(url, json={"timezone": "Europe/Moscow"})).json()["schedule"] == "0 3 * * *"


async def test_lists_are_paged_and_filtered(api: httpx.AsyncClient, store: Store):
    """By tag, status and part of a name or slug in any case and alphabet; oldest first."""
    names = ["Alpha", "Бета", "gamma", "delta"]
    made = [await make(api, name=name, tags=["all", name[0].lower()]) for name in names]
    await beat(store, made[2])

    async def found(**query) -> list[str]:
        answer = await api.get("/api/monitors", params=query)
        assert answer.status_code == 200
        assert answer.json()["total"] >= len(answer.json()["items"])
        return [item["name"] for item in answer.json()["items"]]

    assert sorted(await found()) == sorted(names)
    assert await found(tag="g") == await found(status="alive") == ["gamma"]
    assert await found(q="БЕТ") == ["Бета"]
    assert await found(q="ALP") == ["Alpha"]
    assert await found(q=made[3]["id"]) == ["delta"]
    assert await found(tag="g", status="new") == await found(q='"') == await found(tag="al") == []
    assert await found(limit=2) + await found(limit=2, offset=2) == await found()
    page = (await api.get("/api/monitors", params={"tag": "all", "limit": 1, "offset": 3})).json()
    assert (page["total"], page["limit"], page["offset"], len(page["items"])) == (4, 1, 3, 1)


async def test_odd_queries_are_refused_with_a_sentence(api: httpx.AsyncClient):
    """422, never a 5xx: huge and negative numbers, unknown statuses, long texts."""
    for query in (
        "limit=0",
        "limit=1001",
        "offset=-1",
        f"offset={'9' * 400}",
        "status=ill",
        f"q={'x' * 256}",
    ):
        answer = await api.get(f"/api/monitors?{query}")
        assert answer.status_code == 422
        assert query.partition("=")[0] in answer.json()["detail"]
    for query in ("q=%00", "tag=%ff%fe", "q=%ed%a0%80", "nothing=" + "x" * 50_000):
        assert (await api.get(f"/api/monitors?{query}")).status_code == 200


async def test_ten_thousand_monitors_are_searched_in_time(api: httpx.AsyncClient, store: Store):
    """A page of 10,000 monitors, filtered or not, takes at most 300 ms of processor time."""
    bare = {"status": "new", "gen": 1, "created": 1, "since": 1, "timeout": 60_000, "channels": "*"}
    async with store.redis.pipeline(transaction=False) as pipe:
        for number in range(10_000):
            name = {"name": f"worker {number}", "slug": f"worker-{number}", "tags": '["prod"]'}
            pipe.hset(keys.monitor(0, f"m{number:05}"), mapping={**bare, **name})
            pipe.zadd(keys.deadlines(0), {f"m{number:05}": "inf"})
        await pipe.execute()
    for query, total in (("", 10_000), ("q=WORKER 99", 111), ("status=new&tag=prod", 10_000)):
        took = []
        for _ in range(3):
            start = time.process_time()
            answer = (await api.get(f"/api/monitors?{query}&limit=50")).json()
            took.append(time.process_time() - start)
            assert (answer["total"], len(answer["items"])) == (total, 50)
        assert min(took) < 0.3, took


async def test_pause_and_resume(api: httpx.AsyncClient, store: Store):
    """A paused monitor has no deadline; resumed it is new, with its whole time again; both may be repeated."""
    made = await make(api)
    await beat(store, made)
    url = f"/api/monitors/{made['id']}"
    for _ in range(2):
        paused = (await api.post(f"{url}/pause")).json()
        assert (paused["status"], paused["due_at"]) == ("paused", None)
    for _ in range(2):
        resumed = (await api.post(f"{url}/resume")).json()
        assert resumed["status"] == "new"
        assert resumed["due_at"]


async def test_mute_holds_until_a_time_and_null_ends_it(api: httpx.AsyncClient, store: Store):
    """Seconds or a time, not both, nor a time that is past; the event carries it in ms."""
    url = f"/api/monitors/{(await make(api))['id']}/mute"
    muted = (await api.post(url, json={"until": "2030-01-01T03:00:00+03:00"})).json()
    assert muted["muted_until"] == "2030-01-01T00:00:00Z"
    _, last = (await store.redis.xrange(keys.events(0)))[-1]
    told = unpacked(last)
    assert (told["type"], told["muted"]) == ("monitor.updated", "1893456000000")
    assert (await api.post(url, json={"seconds": 60})).json()["muted_until"] < muted["muted_until"]
    for unmuting in ({"until": None}, {"seconds": None}):
        assert (await api.post(url, json=unmuting)).json()["muted_until"] is None
    for wrong in ({}, {"until": "2020-01-01T00:00:00Z"}, {"seconds": 1, "until": None}, {"seconds": 0}):
        assert (await api.post(url, json=wrong)).status_code == 422
    for wrong in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "soon", 1e308, -1e308, 10**30):
        assert (await api.post(url, json={"until": wrong})).status_code == 422, wrong


async def test_rotating_a_token_refuses_the_old_one(api: httpx.AsyncClient, store: Store):
    """The new one is shown once, or is what was sent; a token in use is 409."""
    made = await make(api)
    url = f"/api/monitors/{made['id']}/rotate-token"
    rotated = (await api.post(url)).json()
    assert rotated["token"] != made["token"]
    assert rotated["heartbeat_url"].endswith(rotated["token"])
    assert await monitors.find_by_token(store, hash_token(made["token"])) is None
    assert (await api.post(url, json={"token": "chosen"})).json()["token"] == "chosen"
    assert (await api.post(url, json={"token": "chosen"})).status_code == 409
    assert (await api.post(url, json={"token": "a b"})).status_code == 422


async def test_a_deleted_monitor_is_gone_with_its_token(api: httpx.AsyncClient, store: Store):
    """204, then 404 on every path of it, and no key of it stays behind."""
    made = await make(api)
    await beat(store, made, "error", "broken")
    url = f"/api/monitors/{made['id']}"
    assert (await api.delete(url)).status_code == 204
    for method, path in (
        *(("GET", path) for path in ("", "/heartbeats", "/incidents", "/uptime")),
        *(("POST", path) for path in ("/pause", "/resume", "/rotate-token")),
        *(("DELETE", ""), ("GET", "%00"), ("GET", "x" * 5000)),
    ):
        answer = await api.request(method, url + path)
        assert answer.status_code == 404, (method, path)
        assert answer.json()["detail"]
    assert (await api.post(f"{url}/mute", json={"seconds": 1})).status_code == 404
    assert [key for key in await store.redis.keys("mp:*") if made["id"] in key] == []
    assert not await store.redis.hexists(*keys.tokens(1, hash_token(made["token"])))


async def test_a_read_token_sees_everything_and_changes_nothing(api: httpx.AsyncClient, store: Store):
    """GET with `read`; 403 for changes, 401 for none or an unknown one."""
    made = await make(api)
    token = (await api.post("/api/tokens", json={"name": "viewer", "scopes": ["read"]})).json()["token"]
    url = f"/api/monitors/{made['id']}"
    async with admin_client(store, token) as viewer:
        for path in ("/api/monitors", url, f"{url}/heartbeats", f"{url}/uptime", "/api/incidents"):
            assert (await viewer.get(path)).status_code == 200
        for method, path in (
            ("POST", "/api/monitors"),
            ("PATCH", url),
            ("DELETE", url),
            ("POST", f"{url}/pause"),
        ):
            answer = await viewer.request(method, path, json={"name": "x"} if method != "DELETE" else None)
            assert answer.status_code == 403
    for token in ("", "unknown"):
        async with admin_client(store, token) as stranger:
            assert (await stranger.get("/api/monitors")).status_code == 401


async def test_a_monitor_keeps_its_channels_when_one_of_them_is_gone(api: httpx.AsyncClient, store: Store):
    """Ids that the monitor has already are accepted in a PATCH, as a form sends them back; new ones must exist."""
    await store.redis.hset(keys.CHANNELS, "4", "{}")
    made = await make(api, channels=[4, 4])
    assert made["channels"] == [4]
    await store.redis.hdel(keys.CHANNELS, "4")
    url = f"/api/monitors/{made['id']}"
    assert (await api.patch(url, json={"channels": [4]})).status_code == 200
    assert (await api.patch(url, json={"channels": [4, 5]})).status_code == 422
    monitor, _ = await monitors.create(store, NewMonitor(name="by other means"))
    assert (await api.get(f"/api/monitors/{monitor.id}")).json()["channels"] == "*"


async def test_of_racing_creations_with_one_token_one_wins(api: httpx.AsyncClient, store: Store):
    """Also when the second comes between the first one's reservation and its monitor; the winner's token works."""
    body = {"name": "twin", "token": "the-one"}
    answers = await asyncio.gather(*(api.post("/api/monitors", json=body) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]
    (made,) = (answer.json() for answer in answers if answer.status_code == 201)
    assert await monitors.find_by_token(store, hash_token("the-one")) == made["id"]
    assert len(await monitors.all_ids(store)) == 1


async def test_a_late_deletion_leaves_the_token_of_its_successor(api: httpx.AsyncClient, store: Store):
    """A deletion repeated after the token went to another monitor takes nothing from that one."""
    old = await monitors.get(store, (await make(api, token="the-one"))["id"])
    await monitors.delete(store, old)
    successor = await make(api, token="the-one")
    with pytest.raises(NotFound):
        await monitors.delete(store, old)
    assert await monitors.find_by_token(store, hash_token("the-one")) == successor["id"]


async def test_a_deletion_whose_answer_was_lost_takes_token_and_slug_along(
    api: httpx.AsyncClient, store: Store
):
    """Neither stays behind though the repeated call finds no monitor: a ping would make it anew under its old id."""
    old = await monitors.get(store, (await make(api, name="Backup"))["id"])
    await scripts.delete_monitor(store, old.id)
    with pytest.raises(NotFound):
        await monitors.delete(store, old)
    assert await monitors.find_by_slug(store, "backup") == []
    assert not await store.redis.hexists(*keys.tokens(1, old.token_hash))
