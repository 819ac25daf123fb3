"""What the answers and questions of all resources have in common."""

from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Item = TypeVar("Item")

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="ISO 8601 in UTC")]
Limit = Annotated[int, Query(ge=1, le=1000, description="at most this many")]
Offset = Annotated[int, Query(ge=0, le=10_000_000, description="leave out this many")]


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("it must not contain the character NUL")
    return text


NO_NUL = AfterValidator(_without_nul)
"""Refuses the one character that neither e-mail nor HTML can carry."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True), NO_NUL]


class Asked(BaseModel):
    """A request's body: JSON types as they are, no number from a text; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class Listing(BaseModel, Generic[Item]):
    """One page of a list and how long the whole of it is."""

    items: list[Item]
    total: int
    limit: int
    offset: int
