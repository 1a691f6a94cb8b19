"""Import of descriptions that were made elsewhere: checked row by row, then stored like generated ones."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cache.annotations import Dataset
from cache.descriptions.flags import flags_of
from cache.errors import CacheError
from cache.files.json_text import finite_number, parse_json
from cache.files.records import Record, file_sha256, read_records
from cache.recipe import Recipe
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, KINDS, Description
from cache.tables.store import PartStore
from priors.answers.completion import text_and_reasoning
from priors.answers.reasoning import without_reasoning
from priors.run.rows import made_by

COLUMNS = ("video_id", "action_class", "kind", "description")
OPTIONAL = ("prompt", "model_id", "model_revision", "frame_seconds", "duration")
UNSTATED = "unstated"
_ROWS = 1024  # descriptions per Parquet file
_NAMES = 50  # ignored columns that are reported
_KEPT = 1000  # problems that are kept with their lines; further ones are only counted

Key = tuple[str, str, str]


class ImportedRecipe(Recipe):
    """The source of a store of imported descriptions: its fingerprint (config hash) names the folder."""

    model: str | None
    """The model that wrote them, if the rows do not say so."""
    model_revision: str
    file_sha256: str
    key_prompt: str | None
    """The prompt, with `{cls}` for the class, if the rows do not say so."""
    complete_prompt: str | None

    @classmethod
    def of(
        cls,
        file: Path,
        *,
        model: str | None,
        model_revision: str | None = None,
        key_prompt: str | None = None,
        complete_prompt: str | None = None,
    ) -> ImportedRecipe:
        """The recipe of the descriptions in `file`. Raises CacheError if it cannot be read."""
        return cls(
            model=model,
            model_revision=model_revision or UNSTATED,
            file_sha256=file_sha256(file),
            key_prompt=key_prompt,
            complete_prompt=complete_prompt,
        )

    def prompt(self, key: Key) -> str:
        """The prompt of a key; empty if it is not known."""
        _, label, kind = key
        text = self.key_prompt if kind == "key" else self.complete_prompt
        return (text or "").replace("{cls}", label)


@dataclass(frozen=True)
class Problem:
    """Why one line cannot be imported."""

    line: int
    column: str
    """The column at fault; empty if it is the line as a whole."""
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.column + ': ' if self.column else ''}{self.reason}"


@dataclass
class Checked:
    """Result of checking a file."""

    good: int = 0
    bad: int = 0
    reasoning: int = 0
    """Good lines from whose descriptions reasoning was cut off."""
    problems: list[Problem] = field(default_factory=list)
    """The first problems; there may be more."""
    by_column: Counter[str] = field(default_factory=Counter)
    """Number of problems by the column at fault."""
    ignored: set[str] = field(default_factory=set)
    """Columns that are ignored."""
    found: set[str] = field(default_factory=set)
    """Columns of COLUMNS that some row has."""


def check_file(dataset: Dataset, file: Path, recipe: ImportedRecipe) -> Checked:
    """Read the whole file and check every line.

    Raises CacheError if it cannot be read at all, or one of COLUMNS is missing in every line.
    """
    checked = Checked()
    for row in _rows(dataset, file, recipe, checked):
        if isinstance(row, Problem):
            checked.bad += 1
            checked.by_column[row.column or "(line)"] += 1
            if len(checked.problems) < _KEPT:
                checked.problems.append(row)
        else:
            checked.good += 1
            checked.reasoning += "reasoning" in row.flags
    if checked.found | checked.ignored and (absent := [name for name in COLUMNS if name not in checked.found]):
        has = ", ".join(map(repr, sorted(checked.found | checked.ignored)))
        raise CacheError(
            f"{file}: no row has the column {absent[0]!r}; found {has}, expected {', '.join(COLUMNS)} (in CSV named in "
            "the first line, and separated by commas, semicolons or tabs)"
        )
    return checked


def import_file(dataset: Dataset, file: Path, recipe: ImportedRecipe, root: Path) -> PartStore:
    """Write the good lines of `file` to `<root>/<fingerprint>`; a second run writes the same rows again.

    Raises CacheError if there is no good line, the file changed since `recipe` was made, or another run writes there.
    """
    if file_sha256(file) != recipe.file_sha256:
        raise CacheError(f"{file}: was changed while it was read; run the command again")
    rows = (row for row in _rows(dataset, file, recipe, Checked()) if isinstance(row, Description))
    first = next(rows, None)
    if first is None:
        raise CacheError(f"{file}: holds no description that can be imported")
    store = PartStore.create(root, recipe, DESCRIPTIONS, key=DESCRIPTION_KEY)
    with store.lock():
        batch = [first]
        for row in rows:
            if len(batch) == _ROWS:
                store.append(batch)
                batch = []
            batch.append(row)
        store.append(batch)
    return store


def _rows(dataset: Dataset, file: Path, recipe: ImportedRecipe, checked: Checked) -> Iterator[Description | Problem]:
    """A description or a problem for each line; memory grows with the keys of the dataset, not with the file."""
    labels = {video.video_id: video.labels for video in dataset.videos}
    seen: dict[Key, int] = {}
    for record in read_records(file):
        if record.problem is not None:
            yield Problem(record.line, "", record.problem)
            continue
        checked.found.update(record.values.keys() & COLUMNS)
        if len(checked.ignored) < _NAMES:
            unknown = record.values.keys() - {*COLUMNS, *OPTIONAL}
            checked.ignored.update(name.encode(errors="backslashreplace").decode() for name in unknown)
        try:
            row = _row(record, labels, recipe)
        except _Bad as bad:
            yield Problem(record.line, bad.column, bad.reason)
            continue
        key = (row.video_id, row.action_class, row.kind)
        if key in seen:
            yield Problem(record.line, "", f"duplicate of line {seen[key]}: the same video, class and kind")
            continue
        seen[key] = record.line
        yield row


@dataclass(eq=False)
class _Bad(Exception):
    column: str
    reason: str


def _row(record: Record, labels: Mapping[str, tuple[str, ...]], recipe: ImportedRecipe) -> Description:
    values = record.values
    video_id, label, kind = (_text(values, name) for name in DESCRIPTION_KEY)
    if video_id not in labels:
        raise _Bad("video_id", f"found {video_id!r}, which the annotations do not have")
    if label not in labels[video_id]:
        has = ", ".join(map(repr, labels[video_id])) or "none"
        raise _Bad("action_class", f"found {label!r}, expected a class of video {video_id!r}: {has}")
    if kind not in KINDS:
        raise _Bad("kind", f"found {kind!r}, expected {' or '.join(KINDS)}")
    text, reasoning = _description(values)
    prompt = _text(values, "prompt", recipe.prompt((video_id, label, kind)))
    model = _text(values, "model_id", recipe.model)
    return Description(
        video_id=video_id,
        action_class=label,
        kind=kind,  # pyright: ignore[reportArgumentType]
        prompt=prompt,
        description=text,
        status="ok",
        error=None,
        model_id=model,
        model_revision=_text(values, "model_revision", recipe.model_revision),
        generation=json.dumps({"imported": recipe.file_sha256}),
        frame_seconds=_seconds(values),
        duration=_duration(values),
        video_bytes=None,
        video_stamp=None,
        prompt_tokens=None,
        new_tokens=None,
        finish_reason=None,
        flags=flags_of(text, prompt=prompt, finish_reason=None, reasoning=reasoning),
        partial=None,
        attempt=1,
        made_by=made_by(),
        created_at=datetime.now(UTC),
    )


def _description(values: Mapping[str, Any]) -> tuple[str, bool]:
    """The text without reasoning, white space collapsed, and whether there was any. It may be a message's content as
    servers give it: a list of parts."""
    value = values.get("description")
    text, apart = text_and_reasoning(value) if isinstance(value, (list, dict)) else ("", "")
    if text or not apart:
        text = _text({**values, "description": text} if text else values, "description")
    said = without_reasoning(text, apart=apart)
    if said.no_text is not None:
        raise _Bad("description", f"{said.no_text.replace('the answer', 'the text')}; no description follows it")
    return " ".join(said.text.split()), said.reasoning


def _text(values: Mapping[str, Any], column: str, otherwise: str | None = None) -> str:
    value = values.get(column, otherwise)
    if value is None:
        hint = "; name the model with --model-id" if column == "model_id" else ""
        raise _Bad(column, f"is missing or empty{hint}")
    if not isinstance(value, str):
        raise _Bad(column, f"found {_short(value)}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Bad(column, f"found {_short(value)}, expected UTF-8") from None
    if not value.strip() and column in (*COLUMNS, "model_id"):
        raise _Bad(column, "is missing or empty")
    if "\0" in value:
        raise _Bad(column, f"found {_short(value)}, which holds a null character")
    return value


def _seconds(values: Mapping[str, Any]) -> tuple[float, ...]:
    value = values.get("frame_seconds", ())
    if isinstance(value, str):  # CSV
        try:
            value = parse_json(value)
        except ValueError:
            value = None
    if not isinstance(value, (list, tuple)) or not all(_is_time(second) for second in value):
        found = _short(values["frame_seconds"])
        raise _Bad("frame_seconds", f"found {found}, expected a list of seconds such as [0.5, 1.5]")
    return tuple(map(float, value))


def _duration(values: Mapping[str, Any]) -> float | None:
    value = values.get("duration")
    if isinstance(value, str):
        value = finite_number(value) or math.nan
    if value is not None and not (_is_time(value) and value > 0):
        raise _Bad("duration", f"found {_short(values['duration'])}, expected seconds above 0")
    return None if value is None else float(value)


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
