"""A message to people, before it takes the form of a channel. Pure."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """One message: a line that says it all, lines that add to it, and words from outside kept apart.

    `title` and `details` are one line each and neutralised; `quote` may have many lines. None is escaped.
    """

    title: str
    details: tuple[str, ...] = ()
    quote: str = ""
    link: str = ""

    def dumps(self) -> str:
        """JSON to keep with a delivery."""
        fields = {"title": self.title, "details": self.details, "quote": self.quote, "link": self.link}
        return json.dumps({name: value for name, value in fields.items() if value})

    @classmethod
    def loads(cls, text: str) -> "Note":
        """The note that `dumps` wrote."""
        kept = json.loads(text)
        return cls(kept["title"], tuple(kept.get("details", ())), kept.get("quote", ""), kept.get("link", ""))
