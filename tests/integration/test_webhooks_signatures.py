"""What receivers verify: independent libraries accept every delivery and refuse every changed one."""

import base64
import hashlib
import hmac
import json
import random
import time

import pytest
import standardwebhooks
import svix.webhooks
from doubles.receiver import Receiver
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from waiting import wait_until
from webhooks_api import emit, make, webhooks_client, working

from services.webhooks.sending import prepare
from services.webhooks.subscription import OVERLAP_MS, Webhook, sealed, signing_secrets
from shared import events
from shared.connection import Store
from shared.deliveries import Delivery
from shared.secrets import SecretBox

KEY = base64.b64encode(bytes(range(32))).decode()
SECRET = f"whsec_{KEY}"
PAYLOADS = [
    {},
    {"name": "Пётр Ильич ☎ 日本語 🦊", "ключ": "значение", "é": "e\u0301"},
    {"z": {"b": [1, {"y": None, "x": [[], {}]}], "a": {"deep": {"deeper": True}}}, "a": False},
    {"big": 123456789012345678901234567890, "negative": -(10**29), "long": 2**64},
    {"float": 0.1, "small": 1e-300, "large": 1.7976931348623157e308, "whole": 1.0, "minus": -0.0},
    {"null": None, "list": [None, None], "empty": "", "quote": '"\\/\b\f\n\r\t\u2028\x00'},
    {"html": "<script>&amp;</script>", "Z": 1, "a": 2, "_": 3, "0": 4, " ": 5},
    {"half": "\ud800", "line": "a\r\nb"},
]


def hook_of_the_field(headers: dict, body: bytes) -> bool:
    """A receiver that parses the body and signs what `json.dumps` makes of it, as many in the field do."""
    again = json.dumps(json.loads(body), sort_keys=True).encode()
    mac = hmac.new(SECRET.encode(), again, hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers["x-webhook-signature"], f"sha256={mac}")


def standard(headers: dict, body: bytes) -> bool:
    try:
        standardwebhooks.Webhook(SECRET).verify(body, headers)
    except standardwebhooks.WebhookVerificationError:
        return False
    return True


def by_svix(headers: dict, body: bytes) -> bool:
    try:
        svix.webhooks.Webhook(SECRET).verify(body, headers)
    except svix.webhooks.WebhookVerificationError:
        return False
    return True


def changed(headers: dict, body: bytes, random_: random.Random):
    """The delivery with one thing changed: a byte of the body, or what the signature covers."""
    place = random_.randrange(len(body))
    yield headers, body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    yield headers, body + b" "
    yield headers, body[:-1]
    yield headers, b""
    yield {**headers, "webhook-id": headers["webhook-id"] + "x"}, body
    yield {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body
    yield {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 3_600)}, body
    signature = headers["webhook-signature"]
    letter = "A" if signature[10] != "A" else "B"
    yield {**headers, "webhook-signature": f"{signature[:10]}{letter}{signature[11:]}"}, body
    yield {**headers, "webhook-signature": "v1,"}, body


def fair(verify, headers: dict, body: bytes) -> bool:
    """Whether a verifier accepts; a body that it cannot even parse is refused."""
    try:
        return verify(headers, body)
    except (ValueError, RecursionError):
        return False


@pytest.mark.timeout(60)
async def test_verifiers_accept_every_delivery_and_refuse_every_changed_one(store: Store):
    """`standardwebhooks`, `svix` and `json.dumps(payload, sort_keys=True)` accept 100 % as it came over the wire."""
    async with Receiver() as receiver, webhooks_client(store) as api, working(store):
        await make(api, f"{receiver.url}/hook", secret=SECRET, event_type="*")
        for number, payload in enumerate(PAYLOADS):
            await emit(store, f"event-{number}", "ticket.message_added", payload)
        got = receiver.journal.received
        await wait_until(lambda: len(got) == len(PAYLOADS), "every event arrives")
    by_id = {}
    for request in got:
        headers = {name.lower(): value for name, value in request["headers"].items()}
        body = request["body"].encode()
        by_id[headers["webhook-id"]] = body
        assert headers["content-type"] == "application/json"
        assert headers["x-webhook-event"] == "ticket.message_added"
        assert headers["x-webhook-id"] == "1"
        for verify in (standard, by_svix, hook_of_the_field):
            assert verify(headers, body), (verify.__name__, body)
    for number, payload in enumerate(PAYLOADS):
        assert by_id[f"event-{number}"] == json.dumps(payload, sort_keys=True).encode()


def request_of(payload: object, now: float) -> tuple[dict[str, str], bytes]:
    box = SecretBox([b"k" * 32])
    webhook = Webhook(7, "x", "http://example.com/", "*", secret=sealed(7, SECRET, box))
    text = events.canonical(payload)
    delivery = Delivery(webhook.target, 1, 1, "event-1", "user.created", text, 0, 0, 0, 1, "", "", 0)
    made = prepare(webhook, delivery, box, now)
    return {name.lower(): value for name, value in made.headers.items()}, made.body


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**29, 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@examples(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
@given(payload=st.dictionaries(st.text(max_size=8), JSON, max_size=5), seed=st.integers(0, 2**32))
def test_any_payload_is_accepted_and_any_change_refused(payload: dict, seed: int):
    """Whatever the payload, all three verifiers accept it as sent, and none of 9 changes gets past the standard
    ones; what re-serialises may pass only a change that leaves the parsed payload the same.
    """
    headers, body = request_of(payload, time.time())
    for verify in (standard, by_svix, hook_of_the_field):
        assert verify(headers, body), verify.__name__
    for other_headers, other_body in changed(headers, body, random.Random(seed)):
        assert not fair(standard, other_headers, other_body)
        assert not fair(by_svix, other_headers, other_body)
        if fair(hook_of_the_field, other_headers, other_body):
            assert json.loads(other_body) == json.loads(body)


@pytest.mark.parametrize("secret", ["plain secret", "whsec_not base64!", "ключ", "x" * 128])
async def test_a_secret_of_any_kind_signs_with_its_bytes(store: Store, secret: str):
    """A secret that is no `whsec_<base64>` signs both kinds of signature as its own bytes."""
    async with Receiver() as receiver, webhooks_client(store) as api, working(store):
        await make(api, f"{receiver.url}/hook", secret=secret)
        await emit(store, "e1", payload={"a": 1})
        (request,) = await wait_until(lambda: receiver.journal.received, "the event arrives")
    headers = {name.lower(): value for name, value in request["headers"].items()}
    body = request["body"].encode()
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    assert headers["x-webhook-signature"] == f"sha256={mac}"
    content = f"e1.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


async def test_a_wrong_clock_signs_with_the_right_time(store: Store, monkeypatch: pytest.MonkeyPatch):
    """The time is that of Redis: a receiver refuses what is minutes off, and a worker's machine may be a day off."""
    right = time.time
    async with Receiver() as receiver, webhooks_client(store) as api, working(store):
        monkeypatch.setattr(time, "time", lambda: right() + 86_400)
        await make(api, f"{receiver.url}/hook", secret=SECRET)
        await emit(store, "e1")
        (request,) = await wait_until(lambda: receiver.journal.received, "the event arrives")
    monkeypatch.undo()
    headers = {name.lower(): value for name, value in request["headers"].items()}
    assert abs(int(headers["webhook-timestamp"]) - right()) < 30
    assert standard(headers, request["body"].encode())


async def test_without_a_secret_nothing_is_signed(store: Store):
    """No signature header at all; the others stay."""
    async with Receiver() as receiver, webhooks_client(store) as api, working(store):
        await make(api, f"{receiver.url}/hook", secret="")
        await emit(store, "e1")
        (request,) = await wait_until(lambda: receiver.journal.received, "the event arrives")
    names = {name.lower() for name in request["headers"]}
    assert not names & {"x-webhook-signature", "webhook-signature"}
    assert {"x-webhook-event", "x-webhook-id", "webhook-id", "webhook-timestamp"} <= names


async def test_during_a_rotation_both_secrets_sign(store: Store):
    """For 24 h `webhook-signature` has one by each secret, so a receiver may change over any time; then one alone."""
    new = f"whsec_{base64.b64encode(b'n' * 32).decode()}"
    async with Receiver() as receiver, webhooks_client(store) as api, working(store):
        await make(api, f"{receiver.url}/hook", secret=SECRET)
        rotated = (await api.post("/webhooks/1/rotate-secret", json={"secret": new})).json()
        assert rotated["secret"] is None
        assert rotated["previous_secret_signs_until"] is not None
        await emit(store, "e1")
        (request,) = await wait_until(lambda: receiver.journal.received, "the event arrives")
    headers = {name.lower(): value for name, value in request["headers"].items()}
    body = request["body"].encode()
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (SECRET, new):
        standardwebhooks.Webhook(secret).verify(body, headers)
        svix.webhooks.Webhook(secret).verify(body, headers)
    mac = hmac.new(new.encode(), body, hashlib.sha256).hexdigest()
    assert headers["x-webhook-signature"] == f"sha256={mac}"


async def test_a_made_secret_is_shown_once(store: Store):
    """Without a secret of your own one is made, good for Standard Webhooks, and returned this one time."""
    async with webhooks_client(store) as api:
        await make(api)
        rotated = (await api.post("/webhooks/1/rotate-secret")).json()
        assert len(base64.b64decode(rotated["secret"].removeprefix("whsec_"))) == 32
        assert rotated["previous_secret_signs_until"] is None
        for path in ("/webhooks/1", "/webhooks", "/webhooks/1/deliveries", "/webhooks/stats"):
            assert rotated["secret"] not in (await api.get(path)).text


def test_the_old_secret_stops_after_24_hours():
    """`signing_secrets` names two until the overlap ends and one from then on."""
    box = SecretBox([b"k" * 32])
    webhook = Webhook(
        7,
        "x",
        "http://example.com/",
        "*",
        secret=sealed(7, "new", box),
        old_secret=sealed(7, "old", box),
        old_secret_until=1_000 + OVERLAP_MS,
    )
    assert signing_secrets(webhook, box, 999 + OVERLAP_MS) == ["new", "old"]
    assert signing_secrets(webhook, box, 1_000 + OVERLAP_MS) == ["new"]
    assert OVERLAP_MS == 24 * 3600 * 1000
