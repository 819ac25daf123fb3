"""The words of the pages: English is the key, other languages are tables beside this file. Pure."""

from collections.abc import Callable
from functools import cache

from services.admin.pages.texts_ru import RUSSIAN

LANGUAGES = {"en": "English", "ru": "Русский"}
TABLES: dict[str, dict[str, str]] = {"en": {}, "ru": RUSSIAN}

DONE = {
    "created": "Created.",
    "saved": "Saved.",
    "deleted": "Deleted.",
    "paused": "Paused: its silence is not noticed.",
    "resumed": "Resumed.",
    "muted": "Muted: nobody is told.",
    "unmuted": "Not muted any more.",
    "redelivered": "It is delivered once more.",
    "activated": "Activated.",
    "deactivated": "Deactivated.",
}
"""What is said after a change, by the word that the address carries."""

FOR_SCRIPTS = (
    "just now", "never", "{span} ago", "in {span}", "{n} s", "{n} min", "{n} h", "{n} d",
    "connected", "connecting", "disconnected", "Copied", "Some events were missed while this page was away.",
    "No events yet.", "alive", "warning", "error", "dead", "new", "paused", "recovered", "deleted", "created",
    "updated", "resumed", "Sending…", "Delivered", "Failed", "Waiting for its first attempt", "attempt {n}",
    "{n} more events", "Close", "The session has ended: sign in again.",
)  # fmt: skip
"""Texts that the pages' scripts need."""

Translate = Callable[..., str]


@cache
def translator(language: str) -> Translate:
    """A function from an English text to this language, with `{names}` filled in."""
    table = TABLES[language]

    def translate(text: str, **values: object) -> str:
        found = table.get(text, text)
        return found.format(**values) if values else found

    return translate
