"""The gallery as one self-contained HTML page: frames, prompts and descriptions, with filters and search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from cache.descriptions.flags import MEANINGS
from cache.tables.schema import FLAGS, KINDS, Flag
from pipelines.pages.marked_texts import MarkedText
from pipelines.pages.page import page, select

_STYLE = Path(__file__).with_name("gallery.css")
_SCRIPT = Path(__file__).with_name("gallery.js")


@dataclass(frozen=True)
class Said:
    """One description."""

    action_class: str
    kind: str
    status: str
    prompt: str
    text: MarkedText
    """The description, or the reason of a failure."""
    flags: tuple[Flag, ...]
    facts: tuple[str, ...]
    """Metadata: model, time, tokens."""


@dataclass(frozen=True)
class Frame:
    """A picture as a data URI, and its time in seconds."""

    uri: str
    seconds: float


@dataclass(frozen=True)
class VideoCard:
    """One video."""

    video_id: str
    duration: float | None
    frames: tuple[Frame, ...]
    """The frames that the model saw; if they are empty, `problem` says why."""
    problem: str
    rows: tuple[Said, ...]


@dataclass(frozen=True)
class GalleryContent:
    """Everything on the page."""

    dataset: str
    subset: str
    folder: str
    model: str
    recipe: str
    """The config as indented JSON."""
    counts: Mapping[str, int]
    """Figures at the top: name -> count."""
    videos: tuple[VideoCard, ...]
    left_out: str
    """What is not on the page, and which option shows it; empty if nothing is missing."""


def gallery(content: GalleryContent) -> str:
    """The page. All texts from data are escaped."""
    cards = "".join(map(_card, content.videos)) or "<p>There is nothing to show.</p>"
    return page(
        title=f"Descriptions · {content.dataset}",
        styles=[_STYLE],
        body=f"{_header(content)}{_filters(content)}{cards}",
        scripts=[_SCRIPT],
    )


def _header(content: GalleryContent) -> str:
    facts = f"{content.subset} · {content.model} · {content.folder}"
    tiles = "".join(
        f'<div class="tile"><b>{count:,}</b><span>{escape(name)}</span></div>' for name, count in content.counts.items()
    )
    note = f'<p class="note">{escape(content.left_out)}</p>' if content.left_out else ""
    return (
        f'<header><p class="eyebrow">MLLM4WTAL · descriptions</p><h1>{escape(content.dataset)}</h1>'
        f'<p>{escape(facts)}</p><div class="tiles">{tiles}</div>{note}'
        f"<details><summary>Full config (recipe.json)</summary><pre>{escape(content.recipe)}</pre></details></header>"
        "<noscript><p>Filters and search need JavaScript; without it, everything is shown.</p></noscript>"
    )


def _filters(content: GalleryContent) -> str:
    rows = [row for video in content.videos for row in video.rows]
    classes = sorted({row.action_class for row in rows})
    flags = [flag for flag in FLAGS if any(flag in row.flags for row in rows)]
    fields = [
        '<label class="wide-field">search<input type="search" name="text" placeholder="text, prompt, video"></label>',
        select("class", "class", [(name, name) for name in classes]),
        select("kind", "kind", [(kind, kind) for kind in KINDS]),
        select("status", "status", [("ok", "ok"), ("failed", "failed")]),
        select(
            "flag", "flags", [("any", "with any flag"), ("none", "with no flag"), *((flag, flag) for flag in flags)]
        ),
        '<button type="reset">clear</button>',
    ]
    return f'<form id="filters" hidden>{"".join(fields)}</form><p id="count" role="status" aria-live="polite"></p>'


def _card(video: VideoCard) -> str:
    length = "" if video.duration is None else f"<span>{video.duration:.1f} s</span>"
    problem = f'<p class="problem">No frames: {escape(video.problem)}</p>' if video.problem else ""
    strip = "".join(
        f'<li><figure><img src="{escape(frame.uri)}" alt="frame at {frame.seconds:.1f} s" loading="lazy">'
        f"<figcaption>{frame.seconds:.1f} s</figcaption></figure></li>"
        for frame in video.frames
    )
    strip = f'<ol class="strip">{strip}</ol>' if strip else ""
    return (
        f'<article data-video="{escape(video.video_id)}"><h3>{escape(video.video_id)}{length}</h3>{problem}{strip}'
        f"{''.join(map(_said, video.rows))}</article>"
    )


def _said(row: Said) -> str:
    data = {"class": row.action_class, "kind": row.kind, "status": row.status, "flags": " ".join(row.flags)}
    attributes = "".join(f' data-{name}="{escape(value)}"' for name, value in data.items())
    flags = "".join(
        f'<span class="flag" title="Texts that {escape(MEANINGS[flag])}.">{escape(flag)}</span>' for flag in row.flags
    )
    failed = "failed: " if row.status == "failed" else ""
    facts = escape(" · ".join(row.facts))
    return (
        f'<div class="said {escape(row.status)}"{attributes}><div class="head"><b>{escape(row.action_class)}</b>'
        f'<span class="kind">{escape(row.kind)}</span>{flags}</div><p>{failed}{_marked(row.text)}</p>'
        f"<details><summary>prompt and metadata</summary><p>{escape(row.prompt)}</p><p>{facts}</p></details></div>"
    )


def _marked(text: MarkedText) -> str:
    pieces = map(escape, text.pieces)
    return "".join(f"<mark>{piece}</mark>" if place % 2 else piece for place, piece in enumerate(pieces))
