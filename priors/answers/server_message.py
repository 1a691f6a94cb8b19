"""What a server says in place of an answer: its message, out of JSON of any shape, a web page or plain text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator

_TELLING = (
    "error",
    "message",
    "msg",
    "detail",
    "details",
    "errors",
    "error_description",
    "title",
    "reason",
    "metadata",
    "raw",
)
"""Fields in which servers put their message, or something that holds it."""
_SHORT = 300
_READ = 20_000
_DEEP = 6

_UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
_MARK = re.compile(r"<[^<>]{0,500}>")


def message_of(body: bytes | str) -> str:
    """The message in the body of an answer, on one line of at most 300 letters; empty where it holds none."""
    text = decoded(body) if isinstance(body, bytes) else body
    try:
        return shortened(said_in(json.loads(text)))
    except (ValueError, RecursionError):
        return shortened(_seen(text) if text.lstrip().startswith("<") else text)


def said_in(document: object) -> str:
    """The message in a JSON document: what its telling fields say, else the document."""
    if document is None or document == "":
        return ""
    found = list(dict.fromkeys(filter(None, map(str.strip, _messages(document, 0)))))
    return "; ".join(found) or json.dumps(document, ensure_ascii=False)


def decoded(body: bytes) -> str:
    """Bytes of an answer as text; what is no Unicode is replaced by its sign for that."""
    return body.decode(json.detect_encoding(body), "replace")


def whole(text: str) -> str:
    """Halves of a letter beyond 16 bits joined; one that stands alone, as where an answer was cut, becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def shortened(text: str) -> str:
    """On one line, and no longer than a row of a table bears; all of it can be written."""
    line = " ".join(whole(text[:_READ]).split())
    return line if len(line) <= _SHORT else line[: _SHORT - 3] + "..."


def _messages(value: object, depth: int) -> Iterator[str]:
    if depth > _DEEP:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _messages(one, depth + 1)
    elif isinstance(value, dict):
        found = [text for name in _TELLING if name in value for text in _messages(value[name], depth + 1)]
        place = value.get("loc")  # FastAPI says of which field it speaks
        head = ".".join(map(str, place)) + ": " if isinstance(place, list) and found else ""
        yield from (head + text for text in found)


def _seen(page: str) -> str:
    """What a reader of a page sees; its title where that is all."""
    page = page[:_READ]
    seen = html.unescape(_MARK.sub(" ", _UNSEEN.sub(" ", page))).strip()
    return seen or html.unescape(_MARK.sub(" ", page)).strip()
