"""The collector's OpenAPI document: FastAPI's own, and the plain ASGI routes that it knows nothing of."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.collector.dialects import bearer, parameter, ping, push, run
from shared.model import TOKEN
from shared.settings import Settings

_TOKEN = parameter(
    "token", "the monitor's token", {"type": "string", "pattern": f"^{TOKEN.pattern}$"}, "path"
)
_RID = parameter("rid", "pairs a start with its end; 64 characters are kept")
_ACTION = parameter("action", "start, fail, log, or an exit status from 0 to 255", place="path")
_REPORT: Final = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["status"],
                "properties": {
                    "status": {"type": "string", "enum": ["ok", "warning", "error"]},
                    "message": {"type": ["string", "null"]},
                },
            }
        }
    }
}
_LOG: Final = {"content": {"text/plain": {"schema": {"type": "string"}}}}


def _answers(**described: str) -> dict[str, Any]:
    accepted = {
        "type": "object",
        "required": ["result"],
        "properties": {"result": {"type": "string", "const": "ok"}},
    }
    problem = {"$ref": "#/components/schemas/ErrorBody"}
    return {
        status.removeprefix("_"): {
            "description": text,
            "content": {"application/json": {"schema": accepted if status == "_200" else problem}},
        }
        for status, text in described.items()
    }


def _heartbeat(name: str, body: dict[str, Any], *parameters: Any, **answers: str) -> dict[str, Any]:
    described = _answers(
        _200="Recorded",
        _403="No monitor has this token",
        **answers,
        _429="Too many unknown tokens from one address",
        _503="Redis is away; try again",
    )
    common = {"tags": ["heartbeats"], "parameters": [*parameters, _RID], "responses": described}
    post = {
        "operationId": f"{name}_post",
        "summary": "A heartbeat",
        "requestBody": body,
        **common,
        "responses": described | _answers(_413="The body is over 1 MiB", _422="The body is not valid"),
    }
    get = {
        "operationId": f"{name}_get",
        "summary": "A heartbeat that says ok, or what the path says",
        **common,
    }
    return {"post": post, "get": get}


HEARTBEATS: Final[dict[str, Any]] = {
    "/api/heartbeat/{token}": _heartbeat("heartbeat", _REPORT, _TOKEN),
    "/api/heartbeat/{token}/{action}": _heartbeat(
        "heartbeat_action", _LOG, _TOKEN, _ACTION, _404="The action is none"
    ),
}

PLAIN: Final[dict[str, Any]] = HEARTBEATS | ping.PATHS | push.PATHS | bearer.PATHS | run.PATHS
"""What plain ASGI answers."""


def document(api: FastAPI, settings: Settings) -> dict[str, Any]:
    """The OpenAPI document of every route."""
    schema = get_openapi(title=api.title, version=api.version, routes=api.routes)
    schema["paths"] = PLAIN | schema["paths"]
    names = settings.signature_headers or ("X-Pulse-Signature",)
    schema["components"].setdefault("securitySchemes", {}).update(
        HTTPBearer={"type": "http", "scheme": "bearer", "description": "An API token"},
        Signature={
            "type": "apiKey",
            "in": "header",
            "name": names[0],
            "description": "HMAC-SHA256 of the raw body as hex, with or without `sha256=` before it",
        },
    )
    return schema
