"""What all HTML pages share: one file that fetches nothing, with a policy that forbids it, and everything inside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

BASE_STYLE = Path(__file__).with_name("page.css")
"""Colours, light and dark, and the look of headings, tables, chips and cards."""
TABLES_SCRIPT = Path(__file__).with_name("tables.js")
"""Sorts and filters tables."""


def page(
    *, title: str, styles: Sequence[Path], body: str, scripts: Sequence[Path] = (), data: object = None, media: str = ""
) -> str:
    """A whole document. `title` is escaped here; `body` is markup, in which every text is escaped already.

    `data` is what the scripts read, as JSON, from the element `data`. The policy lets through images of the page
    itself, its styles and, by its hash, the one script that `scripts` make together; `media` names the sources of
    videos where the page plays any.
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
    """A JPEG file as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def section(title: str, body: str, *, name: str = "") -> str:
    """A heading, which is escaped here, and the markup below it; `name` is where links lead to."""
    place = f' id="{escape(name)}"' if name else ""
    return f"<section{place}><h2>{escape(title)}</h2>{body}</section>"


def legend(names: Mapping[str, str]) -> str:
    """Style of the mark -> what it means; a style that begins with "line" is drawn as a line, with its dashes."""
    line = '<svg class="swatch" viewBox="0 0 30 10"><line class="{}" x1="0" x2="30" y1="5" y2="5"/></svg>'
    items = (
        f"<span>{line.format(style) if style.startswith('line') else f'<i class={style!r}></i>'}{escape(name)}</span>"
        for style, name in names.items()
    )
    return f'<p class="keys">{"".join(items)}</p>'


def contents(sections: Sequence[str]) -> str:
    """Links to the sections that have a name."""
    heads = re.findall(r'<section id="([^"]*)"><h2>(.*?)</h2>', "".join(sections), re.S)
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in heads)
    return f"<nav>{links}</nav>"


def figure(chart: str, title: str, keys: str = "", *, style: str = "") -> str:
    """A chart on a card under its title, which is escaped here, and its legend."""
    caption = f"<figcaption><b>{escape(title)}</b>{keys}</figcaption>"
    return f'<figure class="chart {style}">{caption}{chart}</figure>'


def select(name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    """A labelled choice of a form, with "all" in front of the (value, shown) pairs."""
    choices = "".join(f'<option value="{escape(value)}">{escape(shown)}</option>' for value, shown in options)
    return f'<label>{escape(label)}<select name="{name}"><option value="">all</option>{choices}</select></label>'


def _json(data: object) -> str:
    """JSON that cannot end the element it stands in: `<` appears nowhere in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
