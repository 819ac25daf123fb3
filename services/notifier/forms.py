"""The forms a note takes: plain text, Telegram's HTML and an email's HTML. Pure.

Cutting always happens before escaping, so no entity or tag is ever cut through.
"""

from html import escape

from services.notifier.note import Note

TELEGRAM_LIMIT = 4096
"""UTF-16 code units of the text that is left when Telegram has read tags and entities."""

SUBJECT_LIMIT = 200
ELLIPSIS = "…"


def plain(note: Note) -> str:
    """The note as text: the `text` of a webhook, the text part of an email."""
    return "\n\n".join(
        part for part in ("\n".join((note.title, *note.details)), note.quote, note.link) if part
    )


def telegram(note: Note) -> str:
    """The note in Telegram's HTML, within its limit; what must be cut is the quote first, then the
    details.
    """
    head = cut("\n".join((note.title, *note.details)), TELEGRAM_LIMIT)
    link = note.link if units(head) + units(note.link) + 2 <= TELEGRAM_LIMIT else ""
    room = TELEGRAM_LIMIT - units(head) - (units(link) + 2 if link else 0) - 2
    quote = cut(note.quote, room) if room > len(ELLIPSIS) else ""
    parts = [escape(head, quote=False)]
    if quote:
        parts.append(f"<pre>{escape(quote, quote=False)}</pre>")
    if link:
        parts.append(escape(link, quote=False))
    return "\n\n".join(parts)


def subject(note: Note) -> str:
    """The note's title as an email's subject."""
    return cut(note.title, SUBJECT_LIMIT)


def email_html(note: Note) -> str:
    """The note as a small page without scripts, images or anything else to load."""
    details = "".join(f"<p>{escape(detail)}</p>" for detail in note.details)
    quote = f'<pre style="{_QUOTE}">{escape(note.quote)}</pre>' if note.quote else ""
    link = f'<p><a href="{escape(note.link)}">{escape(note.link)}</a></p>' if note.link else ""
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8"></head>'
        f'<body style="{_BODY}"><h3>{escape(note.title)}</h3>{details}{quote}{link}</body></html>'
    )


_BODY = "font-family:sans-serif;font-size:15px;color:#222;background:#fff"
_QUOTE = (
    "white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f4f4;padding:8px;border-left:3px solid #bbb"
)


def units(text: str) -> int:
    """The length of `text` as Telegram counts it: UTF-16 code units."""
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` UTF-16 code units, with an ellipsis where something is missing."""
    if units(text) <= limit:
        return text
    room, end = limit - len(ELLIPSIS), 0
    for character in text:
        room -= 2 if character > "\uffff" else 1
        if room < 0:
            break
        end += 1
    return text[:end].rstrip() + ELLIPSIS
