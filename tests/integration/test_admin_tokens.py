"""The admin's API tokens."""

import re

import pytest
from admin_api import admin_client, settings

from services.admin.app import create_app
from services.process import show_admin_token
from shared import auth
from shared.connection import Store
from shared.errors import ConfigError


@pytest.fixture
async def api(store: Store):
    async with admin_client(store) as client:
        yield client


async def test_a_token_is_shown_once_and_ends_when_it_is_deleted(api, store: Store):
    """201 with the text; lists and Redis have none of it; after 204 it is refused."""
    made = (await api.post("/api/tokens", json={"name": "shop", "scopes": ["ingest", "read"]})).json()
    text = made.pop("token")
    assert made["scopes"] == ["read", "ingest"]
    assert (await api.get("/api/tokens")).json()["items"] == [made]
    assert (await api.get(f"/api/tokens/{made['id']}")).json() == made
    for key in await store.redis.keys("mp:*apitoken:*"):
        assert text not in str(await store.redis.hgetall(key))
    assert (await auth.authenticate(store, text)).scopes == {"read", "ingest"}
    assert (await api.delete(f"/api/tokens/{made['id']}")).status_code == 204
    assert await auth.authenticate(store, text) is None
    for method in ("GET", "DELETE"):
        assert (await api.request(method, f"/api/tokens/{made['id']}")).status_code == 404


async def test_a_ping_key_is_what_its_clients_expect(api):
    """22 characters of a-z0-9."""
    made = (await api.post("/api/tokens", json={"name": "cron", "scopes": ["ping"]})).json()
    assert re.fullmatch(r"[a-z0-9]{22}", made["token"])


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": "read"},
        {"name": ""},
        {"name": None},
        {"scopes": None},
    ],
)
async def test_what_is_wrong_is_named(api, fields: dict):
    """422 with the field."""
    answer = await api.post("/api/tokens", json={"name": "x", "scopes": ["read"], **fields})
    assert answer.status_code == 422
    assert next(iter(fields)) in answer.json()["detail"]
    assert (await api.delete(f"/api/tokens/{'9' * 40}")).status_code == 422


async def test_only_an_admin_sees_tokens(api, store: Store):
    """403 with read alone."""
    made = (await api.post("/api/tokens", json={"name": "viewer", "scopes": ["read"]})).json()
    async with admin_client(store, made["token"]) as viewer:
        assert (await viewer.get("/api/tokens")).status_code == 403


async def test_the_first_start_prints_an_admin_token_once(store: Store, capsys):
    """It opens the API; the next start and one with PULSE_ADMIN_TOKEN print none."""
    await show_admin_token(store, settings())
    assert capsys.readouterr().out == ""
    await show_admin_token(store, settings(admin_token=""))
    token = re.fullmatch(r"admin token \(shown only now\): (\S+)\n", capsys.readouterr().out)[1]
    await show_admin_token(store, settings(admin_token=""))
    assert capsys.readouterr().out == ""
    async with admin_client(store, token, admin_token="") as client:
        assert (await client.get("/api/tokens")).status_code == 200


async def test_without_a_key_for_secrets_it_does_not_start(store: Store):
    """ConfigError names the settings."""
    with pytest.raises(ConfigError, match="PULSE_SECRET_KEY"):
        create_app(store, settings(secret_key=""))
