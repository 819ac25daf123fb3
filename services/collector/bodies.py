"""Raw request bodies and their signatures, for the routes that sign what they send."""

from collections.abc import Sequence

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from shared.signing import verify_hmac


async def read(request: Request, limit: int) -> bytes:
    """The whole body; 413 as soon as it is known to be over `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    try:
        if int(request.headers.get("content-length") or 0) > limit:
            raise _too_large(limit)
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
    except (ClientDisconnect, ValueError):
        raise HTTPException(400, "the request was cut off") from None
    return b"".join(chunks)


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the body is over {limit:,} bytes")


def signatures(request: Request, names: Sequence[str]) -> list[str]:
    """Every signature that the request carries in one of the headers `names`."""
    return [value for name in names for value in request.headers.getlist(name)]


def signed(body: bytes, given: Sequence[str], secret: str) -> bool:
    """Whether one of the signatures is that of the raw body, compared in constant time."""
    return any(verify_hmac(body, signature, secret) for signature in given)
