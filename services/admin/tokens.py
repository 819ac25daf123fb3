"""`/api/tokens`: API tokens with their scopes; the text of one is shown once and never kept."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, Field

from services.admin.shapes import Asked, Limit, Listing, Name, Offset, Time
from shared import auth
from shared.auth import ApiToken, Scope
from shared.errors import NotFound
from shared.events import iso
from shared.web import StoreDep, errors, requires

router = APIRouter(prefix="/api/tokens", tags=["tokens"], dependencies=[Depends(requires("admin"))])

TokenId = Annotated[int, Path(ge=1, le=2**53)]


class TokenIn(Asked):
    """A token to make. `ping` alone gives a ping key: 22 characters of a-z0-9."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=10)]


class TokenOut(BaseModel):
    """A token without its text."""

    id: int
    name: str
    scopes: list[Scope]
    created_at: Time


class TokenMade(TokenOut):
    """A token with its text, which is shown this once."""

    token: str


def shown(token: ApiToken) -> TokenOut:
    """A token as clients see it."""
    scopes = [scope for scope in auth.SCOPES if scope in token.scopes]
    return TokenOut(id=token.id, name=token.name, scopes=scopes, created_at=iso(token.created_at) or "")


@router.post("", status_code=201, responses=errors(401, 403, 413, 422, 503))
async def create_token(body: TokenIn, store: StoreDep) -> TokenMade:
    """Makes a token; its text is in this answer and never again."""
    made, text = await auth.create_api_token(store, body.name, body.scopes)
    return TokenMade(**shown(made).model_dump(), token=text)


@router.get("", responses=errors(401, 403, 422, 503))
async def list_tokens(store: StoreDep, limit: Limit = 50, offset: Offset = 0) -> Listing[TokenOut]:
    """The tokens, oldest first; PULSE_ADMIN_TOKEN is none of them."""
    every = await auth.list_api_tokens(store)
    items = [shown(token) for token in every[offset : offset + limit]]
    return Listing(items=items, total=len(every), limit=limit, offset=offset)


@router.get("/{token_id}", responses=errors(401, 403, 404, 422, 503))
async def get_token(token_id: TokenId, store: StoreDep) -> TokenOut:
    """One token."""
    for token in await auth.list_api_tokens(store):
        if token.id == token_id:
            return shown(token)
    raise NotFound(f"there is no token {token_id}")


@router.delete("/{token_id}", status_code=204, responses=errors(401, 403, 404, 422, 503))
async def delete_token(token_id: TokenId, store: StoreDep) -> Response:
    """Revokes a token from now on."""
    await auth.delete_api_token(store, token_id)
    return Response(status_code=204)
