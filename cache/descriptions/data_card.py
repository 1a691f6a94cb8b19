"""The data card, README.md, of an exported cache: metadata for `datasets` and the Hub, and a text for readers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cache.descriptions.flags import MEANINGS
from cache.tables.schema import FLAGS, KINDS
from cache.wording import amount

_VARIANTS = 5
"""Largest number of different generation settings and software versions that are listed."""


@dataclass(frozen=True)
class TableCard:
    """One table as a configuration of the dataset."""

    name: str
    schema: pa.Schema
    rows: Mapping[str, int]
    """Number of rows by split; a split without rows has no file."""


@dataclass(frozen=True)
class CardContent:
    """Contents of the card."""

    dataset: str
    classes: int
    recipe: Mapping[str, Any]
    """Recipe of the descriptions."""
    fingerprint: str
    tables: tuple[TableCard, ...]
    states: Mapping[tuple[str, str, str], int]
    """Rows by split, kind and status."""
    flags: Mapping[tuple[str, str], int]
    """Rows by flag and kind."""
    made_by: Mapping[str, int]
    """Rows by software, as JSON."""
    generation: Mapping[str, int]
    """Rows by generation settings, as JSON."""
    left_out: int
    """Rows of videos that the annotations do not have."""


def data_card(content: CardContent) -> str:
    """The card: YAML between two lines of dashes, then Markdown."""
    return "\n".join(["---", *_front_matter(content), "---", "", *_text(content), ""])


def _front_matter(content: CardContent) -> Iterator[str]:
    # Every text is written as JSON, which is valid YAML.
    yield f"pretty_name: {_quoted(f'{content.dataset}: descriptions of actions')}"
    yield "language: [en]"
    yield "tags: [temporal-action-localization, video, video-descriptions, synthetic]"
    yield "configs:"
    for table in content.tables:
        yield f"- config_name: {table.name}"
        if table.name == "descriptions":
            yield "  default: true"
        yield "  data_files:"
        for split in table.rows:
            yield f"  - split: {_quoted(split)}"
            yield f"    path: {_quoted(f'data/{table.name}/{split}.parquet')}"
    yield "dataset_info:"
    for table in content.tables:
        yield f"- config_name: {table.name}"
        yield "  features:"
        for field in table.schema:
            yield f"  - name: {field.name}"
            yield from (f"    {line}" for line in _type_lines(field.type))


def _type_lines(kind: pa.DataType) -> list[str]:
    if pa.types.is_fixed_size_list(kind):
        return [f"list: {_type_name(kind.value_type)}", f"length: {kind.list_size}"]
    if pa.types.is_list(kind):
        return [f"list: {_type_name(kind.value_type)}"]
    return [f"dtype: {_quoted(_type_name(kind))}"]


def _type_name(kind: pa.DataType) -> str:
    return {"double": "float64", "float": "float32"}.get(str(kind), str(kind))


def _text(content: CardContent) -> Iterator[str]:
    model = content.recipe.get("model", "unknown")
    revision = content.recipe.get("model_revision", "unknown")
    yield f"# {_line(content.dataset)}: descriptions of actions in videos"
    yield ""
    classes = amount(content.classes, "class", "classes")
    yield (
        f"Descriptions by a video multimodal LLM, `{_line(model)}` (revision `{_line(revision)}`), of the actions in "
        f"the videos of {_line(content.dataset)} ({classes}): for each video and each of its classes one "
        "sentence (`key`) and a detailed description (`complete`). Made with MLLM4WTAL for weakly-supervised temporal "
        f"action localization, from the cache `{content.fingerprint}`. No video is part of it."
    )
    yield ""
    yield "```python"
    yield "from datasets import load_dataset"
    yield ""
    for table in content.tables:
        yield f'{table.name} = load_dataset("path/to/this/folder", "{table.name}")'
    yield "```"
    yield ""
    yield "## What is in it"
    yield ""
    yield from _counts(content)
    yield ""
    yield "## Known flaws"
    yield ""
    yield from _flaws(content)
    yield ""
    yield "## How it was made"
    yield ""
    yield "The recipe, with the two prompts (`{cls}` stands for the name of the class):"
    yield ""
    yield from _fenced(json.dumps(content.recipe, indent=2, ensure_ascii=False))
    yield ""
    for title, counts in (("Generation settings", content.generation), ("Software", content.made_by)):
        yield f"{title}, with the number of rows:"
        yield ""
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        more = [f"... and {len(ordered) - _VARIANTS} more"] if len(ordered) > _VARIANTS else []
        yield from _fenced("\n".join([*(f"{count:>8}  {text}" for text, count in ordered[:_VARIANTS]), *more]))
        yield ""
    yield "## Licence"
    yield ""
    yield (
        "Not stated: whoever publishes this folder has to choose it (set `license:` above). The texts are the output "
        "of a model on videos of others, so the terms of both apply."
    )


def _counts(content: CardContent) -> Iterator[str]:
    yield "| table | split | rows |"
    yield "| --- | --- | --- |"
    for table in content.tables:
        for split, count in table.rows.items():
            yield f"| {table.name} | {split} | {count} |"
    yield ""
    yield "| split | kind | ok | failed |"
    yield "| --- | --- | --- | --- |"
    for split in dict.fromkeys(split for split, _, _ in sorted(content.states)):
        for kind in KINDS:
            ok, failed = (content.states.get((split, kind, status), 0) for status in ("ok", "failed"))
            yield f"| {split} | {kind} | {ok} | {failed} |"
    if content.left_out:
        yield ""
        rows = amount(content.left_out, "row is", "rows are")
        yield f"{rows} left out, because the annotations do not have the video."


def _flaws(content: CardContent) -> Iterator[str]:
    yield "Texts with problems are marked in the column `flags` by rules over the text alone (number of rows by kind):"
    yield ""
    yield f"| flag | texts that | {' | '.join(KINDS)} |"
    yield f"| --- | --- |{' --- |' * len(KINDS)}"
    for flag in FLAGS:
        yield f"| {flag} | {MEANINGS[flag]} | {' | '.join(str(content.flags.get((flag, kind), 0)) for kind in KINDS)} |"
    yield ""
    yield "Rows with status `failed` have no text, but a reason in the column `error`. The texts were not reviewed."


def _fenced(text: str) -> list[str]:
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}text", text, fence]


def _line(value: object) -> str:
    """Escaped for a line of Markdown, so that it cannot end the line or the code span that it is in."""
    return " ".join(str(value).replace("`", "'").replace("<", "&lt;").split())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
