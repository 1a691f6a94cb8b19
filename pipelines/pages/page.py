"""The frame of all HTML pages: a single self-contained file, with a policy that forbids loading anything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

BASE_STYLE = Path(__file__).with_name("page.css")
"""Colours for light and dark mode, and the style of headings, tables, chips and cards."""
TABLES_SCRIPT = Path(__file__).with_name("tables.js")
"""Sorts and filters tables."""


def page(
    *, title: str, styles: Sequence[Path], body: str, scripts: Sequence[Path] = (), data: object = None, media: str = ""
) -> str:
    """A whole document. `title` is escaped here; `body` is markup whose texts are escaped already.

    `data` is written as JSON into the element `data`, for the scripts. The policy allows embedded images, the styles
    and, by its hash, the script that is the concatenation of `scripts`; `media` names allowed sources of videos.
    """
    style = "".join(path.read_text(encoding="utf-8") for path in (BASE_STYLE, *styles))
    script = "".join(path.read_text(encoding="utf-8") for path in scripts)
    allowed = "'none'"
    if script:
        allowed = f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"
    policy += f"; media-src {media}" if media else ""
    ends = "" if data is None else f'<script type="application/json" id="data">{_json(data)}</script>'
    ends += f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main>{ends}</body></html>\n"
    )


def picture_uri(jpeg: bytes) -> str:
    """A JPEG file as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def section(title: str, body: str, *, name: str = "") -> str:
    """A section with a heading, which is escaped here, and markup; `name` is its anchor."""
    place = f' id="{escape(name)}"' if name else ""
    return f"<section{place}><h2>{escape(title)}</h2>{body}</section>"


def legend(names: Mapping[str, str]) -> str:
    """A legend: style -> meaning. A style that begins with "line" is drawn as a line with its dashes."""
    line = '<svg class="swatch" viewBox="0 0 30 10"><line class="{}" x1="0" x2="30" y1="5" y2="5"/></svg>'
    items = (
        f"<span>{line.format(style) if style.startswith('line') else f'<i class={style!r}></i>'}{escape(name)}</span>"
        for style, name in names.items()
    )
    return f'<p class="keys">{"".join(items)}</p>'


def contents(sections: Sequence[str]) -> str:
    """Links to all sections that have an anchor."""
    heads = re.findall(r'<section id="([^"]*)"><h2>(.*?)</h2>', "".join(sections), re.S)
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in heads)
    return f"<nav>{links}</nav>"


def figure(chart: str, title: str, keys: str = "", *, style: str = "") -> str:
    """A chart on a card with its title, which is escaped here, and its legend."""
    caption = f"<figcaption><b>{escape(title)}</b>{keys}</figcaption>"
    return f'<figure class="chart {style}">{caption}{chart}</figure>'


def select(name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    """A labelled select of a form: "all", then the (value, text) pairs."""
    choices = "".join(f'<option value="{escape(value)}">{escape(shown)}</option>' for value, shown in options)
    return f'<label>{escape(label)}<select name="{name}"><option value="">all</option>{choices}</select></label>'


def _json(data: object) -> str:
    """JSON without the character `<`, so that it cannot end its element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
