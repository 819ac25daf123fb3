"""The feed of a status page: RSS 2.0, an item when an incident begins and one when it is over."""

import re
from email.utils import formatdate
from typing import Final
from xml.sax.saxutils import escape

from starlette.responses import Response

from services.admin.links import origin
from services.admin.pages import texts
from services.admin.pages.public import CACHE, look
from services.admin.pages.site import HEADERS, Visit
from services.admin.pages.times import lasting
from services.admin.standing import PublicIncident

ITEMS: Final = 50
_NOT_XML: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, escaped or not."""


def xml(text: str) -> str:
    """A text from outside within XML."""
    return escape(_NOT_XML.sub("\ufffd", text), {'"': "&quot;", "'": "&apos;"})


async def rss(visit: Visit) -> Response:
    """The newest incidents of a status page."""
    page, standing = await look(visit)
    translate = texts.translator(visit.language)
    link = origin(visit.request, visit.settings) + visit.request.url.path.removesuffix("/feed")
    title = page.title if page else translate("Status")
    items: list[tuple[int, str]] = []
    for one in [*standing.open, *standing.past]:
        items.append((one.opened, _item(one, link, translate, over=False)))
        if one.closed is not None:
            items.append((one.closed, _item(one, link, translate, over=True)))
    items.sort(reverse=True)
    body = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel>'
        f"<title>{xml(title)}</title><link>{xml(link)}</link><language>{visit.language}</language>"
        f'<atom:link href="{xml(link)}/feed" rel="self" type="application/rss+xml"/>'
        f"<description>{xml(translate('Incidents and recoveries'))}</description>"
        f"{''.join(text for _, text in items[:ITEMS])}</channel></rss>\n"
    )
    headers = CACHE if visit.settings.public_status or page else {"Cache-Control": "no-store"}
    return Response(body.encode(), headers={**HEADERS, **headers}, media_type="application/rss+xml")


def _item(one: PublicIncident, link: str, translate: texts.Translate, *, over: bool) -> str:
    at = one.closed if over and one.closed is not None else one.opened
    words = translate("recovered") if over else translate(one.status)
    text = f"{one.name}: {words}"
    if over:
        text += f" ({lasting(at - one.opened, translate)})"
    return (
        f"<item><title>{xml(text)}</title><link>{xml(link)}</link>"
        f'<guid isPermaLink="false">{xml(one.id)}{".over" if over else ""}</guid>'
        f"<pubDate>{formatdate(at / 1000, usegmt=True)}</pubDate></item>"
    )
