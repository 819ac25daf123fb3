"""Forms: what they hold, and which field an error belongs to. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

_PARTS = re.compile(r"; |(?<=\.) (?=config\.)")

WORDS = {
    "float_type": "This must be a number.",
    "greater_than": "This number is too small.",
    "greater_than_equal": "This number is too small.",
    "less_than_equal": "This number is too large.",
    "finite_number": "This must be a number.",
    "string_too_short": "Please fill this in.",
    "string_too_long": "This is too long.",
    "string_pattern_mismatch": "This has characters, or a form, that it cannot have.",
    "too_long": "These are too many.",
}
"""What pydantic's types of errors are called here; other errors come with words of our own."""


@dataclass
class Form:
    """A form as it is shown: its values, and the errors beside their fields; "" is the form as a whole."""

    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def value(self, name: str) -> Any:
        """What a field holds."""
        found = self.values.get(name)
        return "" if found is None else found

    def blame(self, found: Sequence[Any]) -> None:
        """Puts pydantic's errors beside their fields."""
        for item in found:
            place = [str(part) for part in item["loc"] if part not in ("body", "config")]
            name = place[0] if place and place[0] in self.values else ""
            own = str(item["msg"]).removeprefix("Value error, ")
            self.errors.setdefault(name, WORDS.get(str(item["type"]), own))

    def blame_sentence(self, sentence: str) -> None:
        """Puts an API's answer `field: text; field: text`, or `config.field: text.`, beside its fields."""
        for part in _PARTS.split(sentence):
            place, colon, text = part.partition(": ")
            name = place.removeprefix("config.").split(".")[0]
            if colon and name in self.values:
                self.errors.setdefault(name, text)
            else:
                self.errors[""] = f"{self.errors[''] + '; ' if '' in self.errors else ''}{part}"


def errors_of(error: RequestValidationError | ValidationError) -> Sequence[Any]:
    """The list within either kind of error."""
    return error.errors()


def number(text: str) -> float | str:
    """A field's number; what is none stays as it is, for the check to refuse."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return text
    return int(value) if value.is_integer() else value


def words(text: str) -> list[str]:
    """The parts of a comma-separated field."""
    return [part.strip() for part in text.split(",") if part.strip()]


def lines(text: str) -> list[str]:
    """The lines of a field that hold something."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def headers_of(text: str) -> dict[str, str]:
    """`Name: value` lines; a line without a colon is a name without a value."""
    pairs = [line.partition(":") for line in lines(text)]
    return {name.strip(): value.strip() for name, _, value in pairs}


def lines_of(headers: Mapping[str, str]) -> str:
    """Headers as lines."""
    return "\n".join(f"{name}: {value}" for name, value in headers.items())
