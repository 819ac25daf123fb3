"""Scripts, styles and pictures: read once, kept by browsers for as long as their address says the same."""

import hashlib
import mimetypes
from functools import cache
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from services.admin.pages.site import FOLDER, HEADERS

FOR_GOOD: Final = "public, max-age=31536000, immutable"
ASK_AGAIN: Final = "no-cache"
TYPES: Final = {".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@cache
def files() -> dict[str, tuple[bytes, str, str]]:
    """Content, type and digest of every file."""
    found = {}
    for path in (FOLDER / "static").iterdir():
        if path.is_file():
            content = path.read_bytes()
            kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            found[path.name] = (content, kind, hashlib.sha256(content).hexdigest()[:10])
    return found


async def file(request: Request) -> Response:
    """One file; modules that others import by name alone are asked for again, which costs a 304."""
    known = files().get(request.path_params["name"])
    if known is None:
        raise HTTPException(404)
    content, kind, digest = known
    tag = f'"{digest}"'
    named = request.query_params.get("v") == digest
    headers = {**HEADERS, "ETag": tag, "Cache-Control": FOR_GOOD if named else ASK_AGAIN}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=kind)
