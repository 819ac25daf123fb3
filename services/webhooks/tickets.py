"""`POST /ws/ticket`: a ticket for pages that must not put their token into an address; and `/ws` documented."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel

from services.webhooks.guests import TICKET_SECONDS, new_ticket
from shared.auth import ApiToken
from shared.web import ErrorBody, StoreDep, errors, requires

router = APIRouter(tags=["live"])


class TicketOut(BaseModel):
    """A ticket: connect to `/ws?ticket=…` with it, once, within `expires_in` seconds."""

    ticket: str
    expires_in: int


@router.post("/ws/ticket", responses=errors(401, 403, 503))
async def make_ticket(store: StoreDep, token: Annotated[ApiToken, Depends(requires("read"))]) -> TicketOut:
    """Makes a single-use ticket in the name of the token."""
    return TicketOut(ticket=await new_ticket(store, token), expires_in=TICKET_SECONDS)


@router.get(
    "/ws",
    status_code=101,
    responses={
        101: {"description": "The WebSocket is open: the first message is of type `connection`"},
        426: {"model": ErrorBody, "description": "This was no WebSocket handshake"},
        429: {"model": ErrorBody, "description": "Five handshakes without a valid token within a minute"},
    },
)
async def describe_live(
    _token: Annotated[str, Query(alias="token", description="an API token with `read`")] = "",
    _api_key: Annotated[str, Query(alias="api_key", description="the same")] = "",
    _ticket: Annotated[str, Query(alias="ticket", description="a ticket instead of a token")] = "",
    _events: Annotated[str, Query(alias="events", description="types and patterns, comma-separated")] = "",
    _last: Annotated[str, Query(alias="last_event_id", description="the cursor to resume from")] = "",
) -> None:
    """Live events over a WebSocket; a token may also come as `Authorization: Bearer`."""
    raise HTTPException(426, "connect with a WebSocket", headers={"Upgrade": "websocket"})
