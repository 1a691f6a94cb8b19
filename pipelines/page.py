"""What all HTML pages share: one file that fetches nothing, with a policy that forbids it, and pictures inside."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path

BASE_STYLE = Path(__file__).with_name("report.css")
"""Colours, light and dark, and the look of headings, tables, chips and cards."""


def page(*, title: str, style: str, body: str, script: str = "") -> str:
    """A whole document. `title` is escaped here; `body` is markup, in which every text is escaped already.

    The policy lets through images of the page itself, its styles and, by its hash, the one `script`.
    """
    allowed = "'none'"
    if script:
        allowed = f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main>{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def picture_uri(jpeg: bytes) -> str:
    """A JPEG file as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
