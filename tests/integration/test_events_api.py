"""`POST /events` and `/api/ingest` as applications see them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from collecting import Collector, collecting, dumps, sign

from services.collector import events as route
from shared.connection import Store
from shared.events import NewEvent

KEY = "the api key"


@pytest.fixture
async def collector(store: Store) -> AsyncIterator[Collector]:
    async with collecting(store, api_key=KEY) as served:
        served.client.headers["Authorization"] = f"Bearer {await served.token('ingest')}"
        yield served


def event(**fields: Any) -> dict[str, Any]:
    return {"type": "payment.completed", "payload": {"amount": 10}} | fields


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize("path", ["/events", "/api/ingest"])
async def test_an_event_is_taken_under_either_name(collector: Collector, path: str) -> None:
    """202 with the ids; the event is in the stream before the answer."""
    answer = await collector.client.post(path, json=event(id="order-7", timestamp="2025-10-16T12:00:00Z"))
    assert answer.status_code == 202
    assert answer.json() == {"result": "ok", "ids": ["order-7"]}
    (taken,) = await collector.events()
    assert (taken.id, taken.type, taken.payload) == ("order-7", "payment.completed", '{"amount": 10}')
    assert taken.timestamp == "2025-10-16T12:00:00Z"


async def test_an_event_without_id_gets_one(collector: Collector) -> None:
    """Two alike without an id are two events."""
    first = (await collector.client.post("/events", json=event())).json()["ids"]
    second = (await collector.client.post("/events", json=event(id=None, timestamp=None))).json()["ids"]
    assert first != second
    assert [taken.id for taken in await collector.events()] == [*first, *second]


async def test_an_id_is_accepted_once(collector: Collector) -> None:
    """A repetition is answered alike and adds nothing, within a list too."""
    for _ in range(2):
        answer = await collector.client.post("/events", json=[event(id="a"), event(id="b"), event(id="a")])
        assert answer.json() == {"result": "ok", "ids": ["a", "b", "a"]}
    assert [taken.id for taken in await collector.events()] == ["a", "b"]


async def test_a_list_of_a_thousand_is_taken_in_order(collector: Collector) -> None:
    """As many as the contract names, one answer."""
    items = [event(id=f"e{number}") for number in range(1000)]
    answer = await collector.client.post("/events", json=items)
    assert answer.json()["ids"] == [f"e{number}" for number in range(1000)]
    assert [taken.id for taken in await collector.events()] == answer.json()["ids"]


@pytest.mark.parametrize(
    "text",
    [
        '{"n": 123456789012345678901234567890}',
        '{"n": -' + "9" * 4300 + "}",
        '{"f": 0.1, "g": 1e+300, "z": -0.0}',
        '{"t": "\\u0436\\u0000\\ud83d\\ude00 \\ud800", "e": {}, "l": [null, true, false]}',
        nested(100).replace('":', '": '),
    ],
)
async def test_a_payload_survives_unchanged(collector: Collector, text: str) -> None:
    """What receivers get is the canonical text of what came, integers of any size included."""
    body = b'{"type": "a.b", "payload": ' + text.encode() + b"}"
    assert (await collector.client.post("/events", content=body)).status_code == 202
    (taken,) = await collector.events()
    assert taken.payload == json.dumps(json.loads(text), sort_keys=True)


async def test_text_is_escaped_and_keys_are_sorted(collector: Collector) -> None:
    """The stored text is the one that `json.dumps(payload, sort_keys=True)` writes again."""
    await collector.client.post("/events", content='{"type":"a.b","payload":{"я":"ж","a":1}}'.encode())
    (taken,) = await collector.events()
    assert taken.payload == '{"a": 1, "\\u044f": "\\u0436"}'
    assert taken.fields["payload"] == taken.payload


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "the body is not JSON: Expecting value at line 1, column 1"),
    (b"{", "the body is not JSON"),
    (b"\xff\xfe", "the body is not UTF-8"),
    (b"1", "an event is an object"),
    (b'"text"', "an event is an object"),
    (b"null", "an event is an object"),
    (b"[]", "the list has 0 events; send 1 to 1,000"),
    (b"[" + b",".join([b"1"] * 1001) + b"]", "the list has 1,001 events"),
    (b"[1]", "event 0 of the list, counted from 0: an event is an object"),
    (b"{}", "payload must be a JSON object"),
    (b'{"type": "a.b", "payload": [1]}', "payload must be a JSON object"),
    (b'{"type": "a.b", "payload": "x"}', "payload must be a JSON object"),
    (b'{"type": "a.b", "payload": null}', "payload must be a JSON object"),
    (b'{"payload": {}}', "type must be words"),
    (b'{"type": 7, "payload": {}}', "type must be words"),
    (b'{"type": "single", "payload": {}}', "type must be words"),
    (b'{"type": "Upper.Case", "payload": {}}', "type must be words"),
    (b'{"type": "a.b\\n", "payload": {}}', "type must be words"),
    ('{"type": "\u0436.\u0436", "payload": {}}'.encode(), "type must be words"),
    (b'{"type": "a..b", "payload": {}}', "type must be words"),
    (dumps(event(type="a." + "b" * 49)), "type has 51 characters; at most 50"),
    (dumps(event(type="monitor.dead")), "MishPulse's own"),
    (dumps(event(type="webhook.disabled")), "MishPulse's own"),
    (dumps(event(type="delivery.dead_letter")), "MishPulse's own"),
    (dumps(event(type="system.blind")), "MishPulse's own"),
    (dumps(event(id="mp.x.1")), "ids that begin with mp. are MishPulse's own"),
    (dumps(event(id="")), "id must be 1 to 128 visible ASCII characters"),
    (dumps(event(id="x" * 129)), "id must be 1 to 128"),
    (dumps(event(id="a b")), "id must be 1 to 128"),
    (dumps(event(id="a\r\nX: y")), "id must be 1 to 128"),
    (dumps(event(id=7)), "id must be 1 to 128"),
    (dumps(event(timestamp="yesterday")), "timestamp must be ISO 8601"),
    (dumps(event(timestamp=True)), "timestamp must be ISO 8601"),
    (dumps(event(timestamp={})), "timestamp must be ISO 8601"),
    (dumps(event(timestamp=1_760_616_000_000)), "a Unix time is in seconds"),
    (dumps(event(timestamp=-1)), "between the years 1970 and 9999"),
    (dumps(event(timestamp=float("nan"))), "between the years 1970 and 9999"),
    (b'{"type": "a.b", "payload": {}, "timestamp": 1' + b"0" * 400 + b"}", "timestamp must be ISO 8601"),
    (b'{"type": "a.b", "payload": {"x": NaN}}', "payload holds a number that JSON does not have"),
    (b'{"type": "a.b", "payload": {"x": Infinity}}', "payload holds a number that JSON does not have"),
    (b'{"type": "a.b", "payload": {"x": [-Infinity]}}', "payload holds a number that JSON does not have"),
    (b'{"type": "a.b", "payload": {"x": 1e999}}', "payload holds a number that JSON does not have"),
    (
        b'{"type": "a.b", "payload": {"x": ' + b"9" * 4301 + b"}}",
        "payload holds an integer of more than 4,300",
    ),
    (b'{"type": "a.b", "payload": {"x": {"a": 1, "a": 2}}}', "payload names a key twice"),
    (b'{"type": "a.b", "payload": {"a": 1, "a": 2}}', "payload names a key twice"),
    (b'{"type": "a.b", "type": "c.d", "payload": {}}', "the event names a key twice"),
    (b'{"type": "a.b", "payload": ' + nested(101).encode() + b"}", "payload is nested more than 100"),
    (b'{"type": "a.b", "payload": ' + nested(900).encode() + b"}", "nested more than 100"),
    (b"[" * 200_000, "nested more than 100"),
    (b'{"a":' * 200_000, "nested more than 100"),
    (dumps(event(payload={"x": "y" * 65_536})), "payload has 65,545 bytes as canonical JSON; at most 65,536"),
    (dumps(event(payload={"x": "ж" * 20_000})), "at most 65,536"),
]


async def test_a_bad_body_is_refused_with_a_sentence(collector: Collector) -> None:
    """422, a sentence that says what is wrong, and nothing taken."""
    for body, sentence in BAD_BODIES:
        answer = await collector.client.post("/events", content=body)
        assert answer.status_code == 422, body[:200]
        assert sentence in answer.json()["detail"]
    assert await collector.events() == []


async def test_one_bad_item_refuses_the_list_and_is_named(collector: Collector) -> None:
    """All or nothing; the sentence tells which item is wrong."""
    bad = b'[{"type": "a.b", "payload": {}}, {"type": "a.b", "payload": {"x": NaN}}]'
    answer = await collector.client.post("/events", content=bad)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("event 1 of the list, counted from 0: payload holds a number")
    assert await collector.events() == []


async def test_a_payload_may_have_64_kib(collector: Collector) -> None:
    """The bound itself is still taken."""
    answer = await collector.client.post(
        "/events", json=event(payload={"x": "y" * (65_536 - len('{"x": ""}'))})
    )
    assert answer.status_code == 202


async def test_large_lists_are_appended_in_portions(collector: Collector) -> None:
    """No script call holds Redis up; the order stays, and each event comes once."""
    sizes = [1, 300_000, 1, 1, 200_000, 100_000, *[10] * 250, 256 * 1024, 1]
    items = [NewEvent("a.b", "x" * size, str(index)) for index, size in enumerate(sizes)]
    parts = list(route.portions(items))
    assert [item for part in parts for item in part] == items
    assert max(len(part) for part in parts) == route.AT_ONCE
    assert all(
        sum(len(item.payload) for item in part) <= route.BYTES_AT_ONCE for part in parts if len(part) > 1
    )
    payload = {"x": "y" * 60_000}
    answer = await collector.client.post(
        "/events", json=[event(id=str(n), payload=payload) for n in range(20)]
    )
    assert answer.status_code == 202
    assert [taken.id for taken in await collector.events()] == [str(n) for n in range(20)]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_8_mib_is_too_large(collector: Collector, chunked: bool) -> None:
    """413 with a declared length and without one."""
    body = b" " * (route.BODY_LIMIT + 1)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1 << 20):
            yield body[start : start + (1 << 20)]

    answer = await collector.client.post("/events", content=pieces() if chunked else body)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the body is over 8,388,608 bytes"


@pytest.mark.parametrize(
    ("headers", "status", "sentence"),
    [
        ({}, 401, "send a token with the scope ingest"),
        ({"Authorization": "Basic eA=="}, 401, "send a token with the scope ingest"),
        ({"Authorization": "Bearer nobody"}, 401, "this token is not known here"),
        ({"X-API-Key": "nobody"}, 401, "this token is not known here"),
        ({"X-Pulse-Signature": "00"}, 401, "the signature is not that of this body"),
        ({"X-Pulse-Signature": "sha256=ж"}, 401, "the signature is not that of this body"),
        ({"Authorization": "Bearer nobody", "X-Pulse-Signature": "00"}, 401, "the signature is not"),
    ],
)
async def test_who_may_not_send_is_told(
    collector: Collector, headers: dict[str, str], status: int, sentence: str
) -> None:
    """401 without a good token or signature; nothing is taken."""
    del collector.client.headers["Authorization"]
    raw = {name: value.encode() for name, value in headers.items()}
    answer = await collector.client.post("/events", json=event(), headers=raw)
    assert answer.status_code == status
    assert sentence in answer.json()["detail"]
    assert await collector.events() == []


async def test_a_token_without_the_scope_is_refused(collector: Collector) -> None:
    """403, as everywhere."""
    headers = {"Authorization": f"Bearer {await collector.token('read')}"}
    answer = await collector.client.post("/events", json=event(), headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (403, "this token lacks the scope ingest")


@pytest.mark.parametrize("prefix", ["", "sha256=", "SHA256="])
async def test_a_signature_under_the_api_key_is_enough(collector: Collector, prefix: str) -> None:
    """Hex with or without its prefix, over the raw body."""
    del collector.client.headers["Authorization"]
    body = b'{ "type":"a.b", "payload":{} }'
    headers = {"X-Pulse-Signature": prefix + sign(body, KEY)}
    assert (await collector.client.post("/events", content=body, headers=headers)).status_code == 202


async def test_any_header_of_the_settings_may_carry_the_signature(store: Store) -> None:
    """`PULSE_SIGNATURE_HEADERS` names them; without `PULSE_API_KEY` the answer says so."""
    body = dumps(event())
    headers = {"X-Shop-Signature": sign(body, KEY)}
    async with collecting(store, api_key=KEY, signature_headers=("X-A", "X-Shop-Signature")) as served:
        assert (await served.client.post("/events", content=body, headers=headers)).status_code == 202
    async with collecting(store, signature_headers=("X-Shop-Signature",)) as served:
        answer = await served.client.post("/events", content=body, headers=headers)
        assert answer.status_code == 401
        assert "PULSE_API_KEY" in answer.json()["detail"]
