"""Signatures are accepted by libraries that others wrote, and by nobody once anything was changed."""

import base64
import hashlib
import hmac
import json
import time

import pytest
import standardwebhooks
import svix.webhooks

from shared import signing

WHSEC = "whsec_" + base64.b64encode(b"k" * 24).decode()
PAYLOADS = [
    {},
    {"text": "Привет, 世界 🔥"},
    {"nested": {"list": [1, [2, {"deep": None}]], "t": True}},
    {"float": 0.1, "small": 1e-300, "big": 123456789012345678901234567890},
    {"quotes": '"\\/\u2028\x00'},
]


def body_of(payload: object) -> bytes:
    return json.dumps(payload, sort_keys=True).encode()


def sign(body: bytes, *secrets: str, now: int | None = None) -> dict[str, str]:
    """Signed at this moment, not when the module was loaded: the libraries refuse what is 5 minutes old."""
    return signing.headers("payment.completed", "evt-1", "7", body, secrets, now or int(time.time()))


def accepted(body: bytes, headers: dict[str, str], secret: str) -> list[bool]:
    """What each of the libraries says."""
    key = secret if secret.startswith("whsec_") else base64.b64encode(secret.encode()).decode()
    result = []
    for library, error in (
        (standardwebhooks.Webhook, standardwebhooks.WebhookVerificationError),
        (svix.webhooks.Webhook, svix.webhooks.WebhookVerificationError),
    ):
        try:
            library(key).verify(body.decode(), headers)
            result.append(True)
        except error:
            result.append(False)
    return result


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("secret", [WHSEC, "plain secret", "пароль"])
def test_two_libraries_accept_every_payload(payload, secret):
    """Whatever is in it, and whichever form the secret has."""
    body = body_of(payload)
    assert accepted(body, sign(body, secret), secret) == [True, True]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_receiver_that_serialises_again_accepts(payload):
    """The older header verifies against `json.dumps(payload, sort_keys=True)`."""
    headers = sign(body_of(payload), "s3")
    again = json.dumps(json.loads(body_of(payload)), sort_keys=True).encode()
    assert headers["X-Webhook-Signature"] == "sha256=" + hmac.new(b"s3", again, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature", "body"])
def test_whatever_is_changed_is_refused(name):
    """Body, id, time and signature hold each other."""
    body = body_of({"a": 1})
    headers = sign(body, WHSEC)
    changed = {
        "webhook-id": "evt-2",
        "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1),
        "webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode(),
    }
    if name == "body":
        body = body_of({"a": 2})
    else:
        headers[name] = changed[name]
    assert accepted(body, headers, WHSEC) == [False, False]


def test_every_single_changed_byte_is_refused():
    """Of the body and of both signatures."""
    body = body_of({"amount": 10})
    headers = sign(body, "s3")
    for index in range(len(body)):
        mutated = body[:index] + bytes([body[index] ^ 1]) + body[index + 1 :]
        assert not signing.verify_hmac(mutated, headers["X-Webhook-Signature"], "s3")


def test_while_a_rotation_lasts_old_and_new_secret_verify():
    """Both sign in the one header; the newest alone in the header that has room for one."""
    body = body_of({"a": 1})
    headers = sign(body, WHSEC, "old secret")
    assert accepted(body, headers, WHSEC) == [True, True]
    assert accepted(body, headers, "old secret") == [True, True]
    assert accepted(body, headers, "another") == [False, False]
    assert signing.verify_hmac(body, headers["X-Webhook-Signature"], WHSEC)


def test_without_a_secret_nothing_is_signed():
    """The id and the time are there all the same, so that a receiver can tell repetitions."""
    headers = sign(b"{}", "", now=1_700_000_000)
    assert headers == {
        "Content-Type": "application/json",
        "X-Webhook-Event": "payment.completed",
        "X-Webhook-Id": "7",
        "webhook-id": "evt-1",
        "webhook-timestamp": "1700000000",
    }


def test_an_event_id_cannot_smuggle_headers():
    """An application chooses its ids; what is signed is what is sent."""
    headers = signing.headers("a.b", "x\r\nEvil: 1\x00é", "7", b"{}", [WHSEC], int(time.time()))
    assert headers["webhook-id"] == "xEvil: 1"
    assert accepted(b"{}", headers, WHSEC) == [True, True]


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64", "whsec_%%%"])
def test_a_whsec_that_is_none_is_used_as_its_bytes(secret):
    """It is somebody's secret all the same."""
    assert signing.signing_key(secret) in {secret.encode(), b""}
    assert sign(b"{}", secret)["webhook-signature"].startswith("v1,")


class TestVerifyHmac:
    BODY = b'{"domain": "a.example"}'
    GOOD = hmac.new(b"s3", BODY, hashlib.sha256).hexdigest()

    @pytest.mark.parametrize("form", ["{}", "sha256={}", " sha256={} ", "SHA256={}"])
    def test_hex_with_or_without_its_name(self, form):
        """Both forms are in the field, in either case."""
        assert signing.verify_hmac(self.BODY, form.format(self.GOOD), "s3")
        assert signing.verify_hmac(self.BODY, form.format(self.GOOD.upper()), "s3")

    @pytest.mark.parametrize(
        "header",
        [
            "",
            None,
            "sha256=",
            GOOD[:-1],
            GOOD + "0",
            "sha512=" + GOOD,
            "ё" * 64,
            "sha256=sha256=" + GOOD,
            "\ud800",
        ],
    )
    def test_anything_else_is_wrong(self, header):
        """Whatever the header holds, the answer is no and never an error."""
        assert not signing.verify_hmac(self.BODY, header, "s3")

    def test_no_secret_verifies_nothing(self):
        """An unset secret must not mean that everybody knows it."""
        assert not signing.verify_hmac(self.BODY, hmac.new(b"", self.BODY, hashlib.sha256).hexdigest(), "")
