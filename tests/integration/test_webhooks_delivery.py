"""Events on their way to webhooks: who gets what, what a receiver's answer does, and how it is made good later."""

import httpx
import pytest
from doubles.receiver import Receiver
from waiting import wait_until
from waking import lost, never
from webhooks_api import KEY, deliveries, emit, make, webhooks_client, working

from services.webhooks import consequences, subscriptions
from services.webhooks.consequences import observe
from shared import claims, delivery_history, events, keys, queue, retry, scheduler, scripts
from shared import deliveries as ledger
from shared.claims import Recorded, Result
from shared.connection import Store
from shared.deliveries import Delivery, NewDelivery
from shared.events import NewEvent
from shared.orders import Want
from shared.pump import Report
from shared.schema import open_store
from shared.secrets import new_key


@pytest.fixture
async def api(store: Store):
    async with webhooks_client(store) as client:
        yield client


@pytest.fixture
async def receiver():
    async with Receiver() as found:
        yield found


def paths(receiver: Receiver) -> list[str]:
    return sorted(request["path"] for request in receiver.journal.received)


async def finished(api: httpx.AsyncClient, count: int, webhook_id: int = 1) -> list[dict]:
    async def done() -> list[dict]:
        found = await deliveries(api, webhook_id)
        ended = [one for one in found if one["status"] != "pending"]
        return found if len(found) >= count and len(ended) == len(found) else []

    return await wait_until(done, f"{count} deliveries end")


async def test_each_webhook_gets_what_it_asked_for(store: Store, api: httpx.AsyncClient, receiver: Receiver):
    """Exact types, `prefix.*` and `*` match; inactive webhooks and other types get nothing."""
    for pattern in ("user.created", "user.*", "*", "user.deleted", "use.*", "payment.*"):
        await make(api, f"{receiver.url}/{pattern}", event_type=pattern)
    await make(api, f"{receiver.url}/off", event_type="*", is_active=False)
    async with working(store):
        await emit(store, "e1", "user.created")
        await emit(store, "e2", "user.profile.changed")
        await emit(store, "e3", "userx.created")
        await wait_until(lambda: len(receiver.journal.received) >= 6, "every delivery arrives")
    assert paths(receiver) == ["/*", "/*", "/*", "/user.*", "/user.*", "/user.created"]


async def test_the_worker_that_reads_an_event_needs_no_hint(
    store: Store, api: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    """Nor the scheduler: it wakes its own pump, at once."""
    monkeypatch.setattr(queue, "hint", lost)
    monkeypatch.setattr(scheduler, "wake_due", never)
    await make(api, f"{receiver.url}/hook")
    async with working(store):
        for number in range(3):
            await emit(store, f"e{number}")
            await wait_until(lambda: len(receiver.journal.received) > number, "the delivery arrives")  # noqa: B023 - called before the next


async def test_history_and_counts_tell_what_happened(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """A success has its answer, an end and one attempt; stats and the webhook's counts are of final states."""
    await make(api, f"{receiver.url}/hook")
    receiver.answers.append((201, "x" * 3_000, {}))
    async with working(store):
        await emit(store, "e1", payload={"n": 10**30})
        (one,) = await finished(api, 1)
    assert {name: one[name] for name in ("status", "response_status", "attempt_number", "event_type")} == {
        "status": "success",
        "response_status": 201,
        "attempt_number": 1,
        "event_type": "user.created",
    }
    assert one["payload"] == {"n": 10**30}
    assert one["response_body"] == "x" * 1_000
    assert one["error_message"] is one["next_retry_at"] is None
    assert one["delivered_at"] >= one["created_at"]
    detail = (await api.get(f"/webhooks/1/deliveries/{one['id']}")).json()
    assert [attempt["number"] for attempt in detail["attempts"]] == [1]
    webhook = (await api.get("/webhooks/1")).json()
    assert (webhook["success_count"], webhook["failure_count"]) == (1, 0)
    assert webhook["last_triggered_at"]
    stats = (await api.get("/webhooks/stats")).json()
    assert (stats["total_deliveries"], stats["successful_deliveries"], stats["success_rate"]) == (1, 1, 100.0)


async def test_a_failure_waits_for_its_retry(store: Store, api: httpx.AsyncClient, receiver: Receiver):
    """A 500 leaves the delivery pending with the time of its next attempt; Retry-After moves it up to twice as far."""
    await make(api, f"{receiver.url}/hook")
    receiver.answers += [(500, "broken", {}), (503, "busy", {"Retry-After": "9"})]
    async with working(store):
        await emit(store, "e1")
        await emit(store, "e2")

        async def tried() -> list[dict]:
            found = await deliveries(api, 1, status="pending")
            return found if len(found) == 2 and all(one["next_retry_at"] for one in found) else []

        found = await wait_until(tried, "both are tried once")
    waits = {}
    for one in found:
        fields = await store.redis.hgetall(keys.delivery(0, "webhook:1", one["id"]))
        waits[fields["response_status"]] = int(fields["next"]) - int(fields["created"])
        assert one["error_message"] == f"The receiver answered {fields['response_status']}."
        assert (one["delivered_at"], one["attempt_number"]) == (None, 1)
    assert 4_000 <= waits["500"] <= 6_500
    assert 9_000 <= waits["503"] <= 9_900
    assert (await api.get("/webhooks/stats")).json()["failed_deliveries"] == 0


async def test_a_redirect_is_a_failure_and_is_not_followed(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """The answer's status is kept and the sentence says what to do; the other URL is never asked."""
    await make(api, f"{receiver.url}/redirect?to={receiver.url}/elsewhere")
    async with working(store):
        answer = (await api.post("/webhooks/1/test")).json()
    assert (answer["status"], answer["response_status"]) == ("failed", 302)
    assert "redirects are not followed" in answer["error_message"]
    assert all(not path.startswith("/elsewhere") for path in paths(receiver))


async def test_gone_disables_the_webhook_and_tells_others(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """410: no further attempt, inactive with a reason, `webhook.disabled` goes to others and never to itself."""
    await make(api, f"{receiver.url}/status/410", event_type="*")
    await make(api, f"{receiver.url}/watcher", event_type="webhook.*")
    async with working(store):
        await emit(store, "e1")
        await wait_until(lambda: "/watcher" in paths(receiver), "the watcher hears of it")
        webhook = (await api.get("/webhooks/1")).json()
        assert (webhook["is_active"], webhook["disabled_reason"], webhook["failure_count"]) == (
            False,
            "gone",
            1,
        )
        await emit(store, "e2")
        await finished(api, 1, 2)
    (told,) = [request for request in receiver.journal.received if request["path"] == "/watcher"]
    body = httpx.Response(200, text=told["body"]).json()
    assert told["headers"]["X-Webhook-Event"] == "webhook.disabled"
    assert (body["webhook"]["id"], body["reason"]) == (1, "gone")
    assert paths(receiver).count("/status/410") == 1
    await api.patch("/webhooks/1", json={"is_active": True})
    assert (await api.get("/webhooks/1")).json()["disabled_reason"] is None


def report(now: int, failing_since: int | None, state: retry.State = "retry") -> Report:
    delivery = Delivery("webhook:1", 1, 1, "e1", "user.created", "{}", 0, 0, 2, 1, "", "", 0)
    outcome = retry.Outcome(500, error="The receiver answered 500.")
    recorded = Recorded(accepted=True, now=now, failing_since=failing_since, consecutive=3, kept=0)
    return Report("webhook:1", [delivery], outcome, [retry.Decision(state)], recorded)


async def test_five_days_of_failure_disable_a_webhook(store: Store, api: httpx.AsyncClient):
    """One ms less changes nothing; of two workers that see it, one disables and tells."""
    await make(api)
    now = 1_800_000_000_000
    await observe(store, report(now, now - 5 * 86_400_000 + 1))
    assert (await subscriptions.get(store, 1)).is_active
    for _ in range(2):
        await observe(store, report(now, now - 5 * 86_400_000))
    webhook = await subscriptions.get(store, 1)
    assert (webhook.is_active, webhook.disabled_reason) == (False, "failing")
    (state,) = await delivery_history.stats(store, ["webhook:1"])
    assert state.disabled is not None
    told = [fields for _, fields in await store.redis.xrange(keys.events(0))]
    assert [(fields["type"], fields["about"]) for fields in told] == [("webhook.disabled", "webhook:1")]


class Killed(BaseException):
    """Ends a step as a kill would: nothing after it is done, and nobody catches it."""


@pytest.mark.parametrize("killed_before", ["disable", "_tell", "told"])
async def test_a_kill_at_any_step_leaves_no_webhook_on_and_none_untold(
    store: Store, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, killed_before: str
):
    """After the ledger's record, after the switch, after the event: the next look does the rest, and tells it once."""

    async def kill(*_: object) -> None:
        raise Killed

    await make(api)
    await emit(store, "e1")
    gone = await claimed(store, "webhook:1", retry.Outcome(410))
    with monkeypatch.context() as fault:
        fault.setattr(consequences if killed_before == "_tell" else subscriptions, killed_before, kill)
        with pytest.raises(Killed):
            await observe(store, gone)
    for _ in range(3):
        await consequences.make_good(store, await subscriptions.align(store, 1))
    webhook = await subscriptions.get(store, 1)
    assert (webhook.is_active, webhook.disabled_reason, webhook.untold) == (False, "gone", None)
    told = [fields for _, fields in await store.redis.xrange(keys.events(0))]
    assert [one["type"] for one in told] == ["user.created", "delivery.dead_letter", "webhook.disabled"]
    await api.patch("/webhooks/1", json={"is_active": True})
    await consequences.make_good(store, await subscriptions.align(store, 1))
    assert (await subscriptions.get(store, 1)).is_active, "what is enabled again starts afresh"


async def claimed(store: Store, target: str, outcome: retry.Outcome) -> Report:
    """One delivery to the target, claimed and recorded with this outcome; the report that its worker would make."""
    (delivery_id,) = await ledger.create(store, [NewDelivery(target, "e1", "user.created", "{}", 1)])
    assert delivery_id is not None
    ((delivery,),) = [one.deliveries for one in await claims.claim(store, "w", [Want(target)])]
    decision = retry.decide(1, outcome)
    (recorded,) = await claims.record(store, [Result(delivery, "w", decision.state, outcome=outcome)])
    return Report(target, [delivery], outcome, [decision], recorded)


async def test_a_webhook_that_failed_once_long_ago_stays_on(store: Store, api: httpx.AsyncClient):
    """Five days count from the first failure to the last one, not to the day on which somebody looks."""
    await make(api)
    await emit(store, "e1")
    await claimed(store, "webhook:1", retry.Outcome(500))
    key, day = keys.of_target(0, "target", "webhook:1"), 86_400_000
    last = int(await store.redis.hget(key, "last_triggered") or 0)
    await store.redis.hset(key, mapping={"failing_since": last - 6 * day, "last_triggered": last - 5 * day})
    await consequences.make_good(store, await subscriptions.align(store, 1))
    assert (await subscriptions.get(store, 1)).is_active
    await store.redis.hset(key, "last_triggered", last - day)
    await consequences.make_good(store, await subscriptions.align(store, 1))
    webhook = await subscriptions.get(store, 1)
    assert (webhook.is_active, webhook.disabled_reason) == (False, "failing")


async def test_a_dead_letter_is_an_event_about_its_webhook(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """Two webhooks that want everything and both fail tell nobody for ever: no loop comes of it."""
    await make(api, f"{receiver.url}/status/500", event_type="*")
    await claimed(store, "webhook:1", retry.Outcome(404, permanent=True))
    (entry,) = await store.redis.xrange(keys.events(0))
    assert (entry[1]["type"], entry[1]["about"]) == ("delivery.dead_letter", "webhook:1")
    await make(api, f"{receiver.url}/watcher", event_type="delivery.*")
    async with working(store):
        await events.emit(store, [NewEvent("delivery.dead_letter", "{}", "mp.x", about="webhook:1")])
        await wait_until(lambda: "/watcher" in paths(receiver), "the other webhook hears of it")
    assert "/status/500" not in paths(receiver)


async def test_a_test_is_one_attempt_that_answers_what_happened(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """Success or failure comes back at once; a failed test is no dead letter; an inactive webhook is not tested."""
    await make(api, f"{receiver.url}/hook")
    async with working(store):
        good = (await api.post("/webhooks/1/test")).json()
        assert (good["status"], good["response_status"], good["event_type"]) == (
            "success",
            200,
            "webhook.test",
        )
        receiver.answers.append((500, "no", {}))
        bad = (await api.post("/webhooks/1/test")).json()
        assert (bad["status"], bad["response_status"], len(bad["attempts"])) == ("failed", 500, 1)
        await api.patch("/webhooks/1", json={"url": "http://127.0.0.1:1/"})
        refused = (await api.post("/webhooks/1/test")).json()
        assert (refused["status"], refused["response_status"]) == ("failed", None)
        assert "refused" in refused["error_message"]
    assert await store.redis.xlen(keys.events(0)) == 0
    await api.patch("/webhooks/1", json={"is_active": False})
    assert (await api.post("/webhooks/1/test")).status_code == 409


async def test_a_target_that_is_not_permitted_is_never_asked(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """Without PULSE_ALLOW_PRIVATE_TARGETS loopback gets no connection, and the delivery says why."""
    await make(api, f"{receiver.url}/hook")
    async with working(store, allow_private_targets=""):
        answer = (await api.post("/webhooks/1/test")).json()
    assert answer["status"] == "failed"
    assert "loopback" in answer["error_message"]
    assert receiver.journal.received == []


async def test_redelivery_has_the_same_event_id_and_a_new_delivery(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """202 with the new delivery; the old one names it; a pending one cannot be redelivered."""
    await make(api, f"{receiver.url}/hook")
    async with working(store):
        await emit(store, "e1")
        (old,) = await finished(api, 1)
        answer = await api.post(f"/webhooks/1/deliveries/{old['id']}/redeliver")
        assert answer.status_code == 202
        assert (answer.json()["redelivery_of"], answer.json()["event_id"]) == (old["id"], "e1")
        new, again = await finished(api, 2)
    assert again["redelivered_as"] == new["id"] == answer.json()["id"]
    ids = [request["headers"]["webhook-id"] for request in receiver.journal.received]
    assert ids == ["e1", "e1"]
    await api.patch("/webhooks/1", json={"is_active": False})
    waiting = (await api.post(f"/webhooks/1/deliveries/{old['id']}/redeliver")).json()
    answer = await api.post(f"/webhooks/1/deliveries/{waiting['id']}/redeliver")
    assert answer.status_code == 409
    assert (await api.post("/webhooks/1/deliveries/999/redeliver")).status_code == 404
    await store.redis.hset(keys.of_target(0, "target", "webhook:1"), "deleted", "1")
    assert (await api.post(f"/webhooks/1/deliveries/{old['id']}/redeliver")).status_code == 404


async def test_recover_sends_what_failed_and_what_was_missed(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """Missed while off or before it was there, failed, or waiting for a retry: all of it once, by one call; what
    was delivered is not sent again, and a second call finds nothing.
    """
    await emit(store, "before", "user.created")
    await make(api, f"{receiver.url}/hook")
    async with working(store):
        await emit(store, "good")
        await finished(api, 1)
        await api.patch("/webhooks/1", json={"is_active": False})
        await emit(store, "missed")
        await emit(store, "other", "user.deleted")
        await api.patch("/webhooks/1", json={"is_active": True})
        receiver.answers.append((500, "no", {}))
        await emit(store, "waiting")

        async def waits() -> list[dict]:
            return [one for one in await deliveries(api, 1, status="pending") if one["next_retry_at"]]

        await wait_until(waits, "an attempt fails")
        failed = (await api.post("/webhooks/1/recover", json={"since": "2020-01-01T00:00:00Z"})).json()
        assert failed == {"redelivered": 0, "missed": 2, "hurried": 1, "total": 3, "reaches_back_to": None}
        await finished(api, 4)
        again = (await api.post("/webhooks/1/recover", json={"since": 1_600_000_000})).json()
        assert again["total"] == 0
    got = [request["headers"]["webhook-id"] for request in receiver.journal.received]
    assert sorted(got) == ["before", "good", "missed", "waiting", "waiting"]


async def test_recover_redelivers_dead_letters_once(store: Store, api: httpx.AsyncClient, receiver: Receiver):
    """Dead letters that ended since then, in the order they were made; each once however often it is asked."""
    await make(api, f"{receiver.url}/hook")
    async with working(store):
        receiver.answers += [(500, "", {}), (410, "", {})]
        await api.post("/webhooks/1/test")
        await emit(store, "e1")
        await wait_until(lambda: len(receiver.journal.received) == 2, "410 is answered")
        await wait_until(lambda: _off(store), "it is off")
        await api.patch("/webhooks/1", json={"is_active": True})
        assert (await api.post("/webhooks/1/recover", json={"since": "2999-01-01"})).json()["total"] == 0
        assert (await api.post("/webhooks/1/recover", json={"since": "2020-01-01"})).json()[
            "redelivered"
        ] == 1
        await finished(api, 3)
        assert (await api.post("/webhooks/1/recover", json={"since": "2020-01-01"})).json()["total"] == 0
    assert [request["headers"]["webhook-id"] for request in receiver.journal.received][1:] == ["e1", "e1"]


async def _off(store: Store) -> bool:
    return not (await subscriptions.get(store, 1)).is_active


@pytest.mark.parametrize("since", ["yesterday", "", -1, 1e300, "0000-01-01", None, True, [], {}])
async def test_a_bad_time_is_refused(api: httpx.AsyncClient, since: object):
    """422 with a sentence."""
    await make(api)
    answer = await api.post("/webhooks/1/recover", json={"since": since})
    assert answer.status_code == 422
    assert "since" in answer.json()["detail"]


async def next_ms(store: Store) -> None:
    """Times of the stream are whole ms, and an event of the one in which a webhook is switched counts for it."""
    now = await scripts.server_time(store.redis, 0)
    while await scripts.server_time(store.redis, 0) == now:
        pass


async def test_an_event_belongs_to_the_webhooks_that_were_active_when_it_happened(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """A dispatcher that comes late delivers by the time of the event, not by the time of reading."""
    await make(api, f"{receiver.url}/early")
    await emit(store, "e1")
    await api.patch("/webhooks/1", json={"is_active": False})
    await next_ms(store)
    await emit(store, "e2")
    await next_ms(store)
    await api.patch("/webhooks/1", json={"is_active": True})
    await make(api, f"{receiver.url}/late")
    await emit(store, "e3")
    async with working(store):
        await wait_until(lambda: len(receiver.journal.received) >= 3, "three deliveries arrive")
        await finished(api, 2)
    got = sorted((request["path"], request["headers"]["webhook-id"]) for request in receiver.journal.received)
    assert got == [("/early", "e1"), ("/early", "e3"), ("/late", "e3")]


async def test_secrets_move_to_the_newest_key_by_themselves(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """With PULSE_SECRET_KEY=new,old the worker seals every secret anew, and after it the new key alone is enough."""
    fresh = new_key()
    await make(api, f"{receiver.url}/hook", secret="old-secret-of-it")
    before = (await subscriptions.get(store, 1)).secret

    async def moved() -> bool:
        return (await subscriptions.get(store, 1)).secret != before

    async with working(store, secret_key=f"{fresh},{KEY}"):
        await wait_until(moved, "the secret is sealed anew")
    async with working(store, secret_key=fresh):
        await emit(store, "e1")
        await wait_until(lambda: receiver.journal.received, "the event arrives")
    assert "X-Webhook-Signature" in receiver.journal.received[0]["headers"]


async def test_without_its_key_nothing_goes_out_unsigned(
    store: Store, api: httpx.AsyncClient, receiver: Receiver
):
    """A secret that cannot be opened is a failure that is tried again; the error names the key, not the secret."""
    await make(api, f"{receiver.url}/hook", secret="old-secret-of-it")
    async with working(store, secret_key=new_key()):
        await emit(store, "e1")

        async def failed() -> list[dict]:
            return [one for one in await deliveries(api, 1) if one["error_message"]]

        (one,) = await wait_until(failed, "the attempt fails")
    assert "PULSE_SECRET_KEY" in one["error_message"]
    assert (one["status"], receiver.journal.received) == ("pending", [])


async def test_with_several_shards_everything_works_alike(store: Store, receiver: Receiver):
    """Ids stay unique integers that name their delivery; events of every shard arrive; recover reads all of them."""
    await store.redis.flushall()
    sharded = await open_store(store.redis, 5)
    async with webhooks_client(sharded) as api:
        for _ in range(4):
            await make(api, f"{receiver.url}/hook")
        async with working(sharded):
            for number in range(12):
                await emit(sharded, f"e{number}")
            await wait_until(lambda: len(receiver.journal.received) == 48, "all arrive")
            ids = []
            for webhook_id in range(1, 5):
                items = await finished(api, 12, webhook_id)
                assert {one["event_id"] for one in items} == {f"e{number}" for number in range(12)}
                ids += [one["id"] for one in items]
                detail = await api.get(f"/webhooks/{webhook_id}/deliveries/{items[0]['id']}")
                assert detail.json()["event_id"] == items[0]["event_id"]
            await api.patch("/webhooks/1", json={"is_active": False})
            for number in range(12, 24):
                await emit(sharded, f"e{number}")
            await api.patch("/webhooks/1", json={"is_active": True})
            recovered = (await api.post("/webhooks/1/recover", json={"since": "2020-01-01"})).json()
            assert recovered["missed"] == 12
            await finished(api, 24)
    assert len(set(ids)) == len(ids) == 48
