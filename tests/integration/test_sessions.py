"""The session of our own pages elsewhere: at `/ws` and in the API of webhooks."""

import json

import httpx
import pytest
from admin_api import ADMIN_TOKEN, settings
from serving import serving
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from services.webhooks.app import create_app
from shared import auth, sessions
from shared.connection import Store


async def signed_in(store: Store, *scopes: auth.Scope) -> tuple[str, auth.ApiToken]:
    """The cookie of a session in the name of a new token, and the token."""
    token, _ = await auth.create_api_token(store, "viewer", scopes or ("read",))
    return await sessions.start(store, token), token


async def first_word(url: str, cookie: str, origin: str | None) -> str | int:
    """The type of the first message of `/ws`, or the code it was closed with."""
    headers = {"Cookie": f"{sessions.COOKIE}={cookie}"}
    address = f"{url.replace('http', 'ws', 1)}/ws"
    try:
        async with connect(address, additional_headers=headers, origin=origin, proxy=None) as socket:  # type: ignore[arg-type]
            return json.loads(await socket.recv())["type"]
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0


async def test_a_session_listens_from_our_own_pages_only(store: Store):
    """The cookie alone is no way in for a page of another site."""
    cookie, token = await signed_in(store)
    async with serving(create_app(store, settings())) as url:
        assert await first_word(url, cookie, url) == "connection"
        assert await first_word(url, cookie, "https://evil.example") == 1008
        assert await first_word(url, cookie, None) == 1008
        await auth.delete_api_token(store, token.id)
        assert await first_word(url, cookie, url) == 1008


async def test_a_session_that_may_not_read_does_not_listen(store: Store):
    """Its token's scopes are the session's."""
    cookie, _ = await signed_in(store, "ingest")
    async with serving(create_app(store, settings())) as url:
        assert await first_word(url, cookie, url) == 1008


@pytest.mark.parametrize(("scope", "made"), [("admin", 201), ("read", 403)])
async def test_a_session_changes_what_its_token_may_with_its_csrf_token(
    store: Store, scope: auth.Scope, made: int
):
    """Without that token nothing; a read token nothing either way."""
    cookie, _ = await signed_in(store, scope)
    body = {"name": "CRM", "url": "https://crm.example/", "event_type": "ticket.created"}
    transport = httpx.ASGITransport(create_app(store, settings()))
    cookies = {sessions.COOKIE: cookie}
    async with httpx.AsyncClient(transport=transport, base_url="http://pulse.test", cookies=cookies) as page:
        assert (await page.get("/webhooks")).status_code == 200
        assert (await page.post("/webhooks", json=body)).status_code == 403
        for wrong in ("", "x", sessions.csrf_of("another")):
            answer = await page.post("/webhooks", json=body, headers={sessions.CSRF_HEADER: wrong})
            assert answer.status_code == 403
        headers = {sessions.CSRF_HEADER: sessions.csrf_of(cookie)}
        assert (await page.post("/webhooks", json=body, headers=headers)).status_code == made


async def test_a_session_of_the_settings_token_ends_when_that_changes(store: Store):
    """Whoever signed in by PULSE_ADMIN_TOKEN is out once it is another one, or none."""
    token = await auth.authenticate(store, ADMIN_TOKEN, ADMIN_TOKEN)
    assert token is not None
    cookies = {sessions.COOKIE: await sessions.start(store, token)}
    assert await sessions.find(store, cookies, ADMIN_TOKEN) is not None
    assert await sessions.find(store, cookies, "another") is None
    assert await sessions.find(store, cookies, "") is None
    await sessions.end(store, cookies)
    assert await sessions.find(store, cookies, ADMIN_TOKEN) is None
