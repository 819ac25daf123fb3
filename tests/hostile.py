"""Two hundred strings that somebody sends to see what happens."""

import itertools

_BASES = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)", "</pre></code><b>", "<b>unclosed", "</b>", "<", ">", "&", "&lt;", "&amp;lt;",
    "&#60;script&#62;", "&#0;", "&nbsp", "<a href='tg://user?id=1'>x</a>", "<pre><pre>", "<!-- -->",
    "<![CDATA[x]]>", "<tg-spoiler>x", "<b <i>>", "javascript:alert(1)", "{name}", "{0}", "%s%n", "${7*7}",
    "{{7*7}}", "\\u003cscript\\u003e", "'; DROP TABLE x; --", "../../etc/passwd",
    "a\r\nBcc: victim@example.org", "a\nSubject: other", "a\r\n\r\nbody", "a\x00b", "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07", "\x07\x08\x7f", "\x85\u2028\u2029", "\x0b\x0c", "\t\t", "\u202egnp.exe",
    "\u2066x\u2069", "\u061c\u200e\u200f", "\ufeffx", "\ufff9a\ufffab\ufffb", "\U000e0041\U000e007f",
    "\ud800", "\udfff\ud800", "\ufffe\uffff", "\u200b\u200d", "Z\u0351\u036b\u0343" * 20, "👩‍👩‍👧‍👦" * 30,
    "🔥" * 5000, "x" * 10_000, "<" * 10_000, "&" * 10_000, "\"'" * 5_000, "\n" * 10_000, "a\n" * 5_000,
    " " * 10_000, "é" * 10_000, "世界" * 5_000, "\u202e" * 10_000, "=?utf-8?q?x?=", "x" * 997+"<", "." * 1000,
    "..\r\n.\r\n", "",
)  # fmt: skip

_FRAMES = ("{}", "before {} after", "{0}\n{0}", "<i>{}</i>")

HOSTILE = tuple(
    dict.fromkeys(
        frame.replace("{0}", "{}").replace("{}", base)[:10_000]
        for frame, base in itertools.product(_FRAMES, _BASES)
    )
)

INVISIBLE = tuple(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2028\u2029\ufeff\x00\x1b\x07\r"
)
"""Characters that must reach nobody."""
