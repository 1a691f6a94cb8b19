"""Tables of descriptions that were made elsewhere: CSV, TSV, JSONL and Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import polars
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzzing.mutations.json_values import other_values, written
from benchmarks.fuzzing.mutations.noise import another, noise
from benchmarks.fuzzing.mutations.texts import ENCODINGS, LINE_ENDS, SPELLINGS, UNFIT
from benchmarks.fuzzing.plain.plain_tables import fits, header_of, rows_of, text_of_table
from benchmarks.fuzzing.trials import Input, Read, Unreadable
from cache.annotations import Dataset, VideoEntry
from cache.errors import CacheError
from priors.imported import Checked, ImportedRecipe, check_file, import_file

COLUMNS = ("video_id", "action_class", "kind", "description")
MORE = ("prompt", "model_id", "duration", "frame_seconds")
_LABELS = ("Dive", "Café crème", "跳水")
_TEXTS = (
    "A person dives.",
    "She runs, then she jumps; twice.",
    'He says "go" and kicks.',
    "跳水运动员跳下。",
    "Café, naïve.",
    "a < b > c",
    "Line one\nline two.",
    "Tabs\tinside.",
    "=1+1",
    "0.5",
    "None",
)
_DATASET = Dataset(
    "fuzz", _LABELS, tuple(VideoEntry(name, "training", 9.0, _LABELS, (), None) for name in ("v_a1", "été", "clip 3"))
)
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
Row = dict[str, Any]


def draw_rows(rng: random.Random) -> list[Row]:
    """Distinct keys, each with a text."""
    keys = [(v.video_id, label, kind) for v in _DATASET.videos for label in _LABELS for kind in ("key", "complete")]
    rows = []
    for key in rng.sample(keys, rng.randint(2, 8)):
        row: Row = dict(zip(COLUMNS, (*key, rng.choice(_TEXTS)), strict=True))
        row["model_id"] = rng.choice(("m", "模型 1"))
        row["duration"] = rng.choice((None, 9.5, 12.0))
        rows.append(row)
    return rows


def written_table(
    rows: list[Row], suffix: str, *, separator: str = ",", quote: Literal[0, 1] = csv.QUOTE_MINIMAL
) -> bytes:
    """The rows as a table, in UTF-8."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    rows = rows if suffix == ".jsonl" else [{name: row.get(name) for name in names} for row in rows]
    if suffix == ".jsonl":
        return b"".join(written(row).encode("utf-8", "surrogatepass") + b"\n" for row in rows)
    if suffix == ".parquet":
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), file)
        return file.getvalue()
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=quote, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if row.get(name) is None else row[name] for name in names])
    return text.getvalue().encode("utf-8", "surrogatepass")


def value_of(rows: list[Row]) -> tuple[dict[tuple, str], int]:
    """Texts by their keys, and no bad row."""
    return {tuple(row[name] for name in COLUMNS[:3]): " ".join(row["description"].split()) for row in rows}, 0


class Descriptions:
    """See `Format`."""

    name = "descriptions"
    share = 12

    def draw(self, rng: random.Random) -> Input:
        """See `Format`."""
        rows, suffix = draw_rows(rng), rng.choice(_SUFFIXES)
        kind = rng.choice(("spelled", "spelled", "a row", "a row", "a row", "columns", "noise", "another"))
        match kind:
            case "spelled":
                return _spelled(rng, rows, suffix)
            case "a row":
                return _one_row(rng, rows, suffix)
            case "columns":
                return _columns(rng, rows, suffix)
            case _:
                separator = "\t" if suffix == ".tsv" else ","
                done, data = (noise if kind == "noise" else another)(
                    written_table(rows, suffix, separator=separator), rng
                )
                return Input(f"{suffix}: {done}", {f"d{suffix}": data})

    def read(self, folder: Path) -> Read:
        """See `Format`: what the command does, and what it then stores."""
        path = next(path for path in folder.iterdir() if path.name.startswith("d."))
        recipe = ImportedRecipe.of(path, model="unnamed")
        checked: Checked = check_file(_DATASET, path, recipe)
        told = tuple(map(str, checked.problems))
        texts: dict[tuple, str] = {}
        if not checked.good:  # as the command says it
            raise CacheError(f"{path}: holds no description; {'; '.join(told)}"[:2000])
        with patch("os.fsync"):  # which takes most of the time
            store = import_file(_DATASET, path, recipe, folder / "store")
        for row in store.rows():
            texts[row["video_id"], row["action_class"], row["kind"]] = row["description"]
        return Read((texts, checked.bad), told)

    def plain(self, folder: Path) -> Any:
        """See `Format`."""
        path = next(path for path in folder.iterdir() if path.name.startswith("d."))
        texts: dict[tuple, str] = {}
        bad = 0
        for row in _PLAIN[path.suffix](path):
            key = None if row is None else _key(row)
            if row is None or key is None or key in texts:
                bad += 1
            else:
                texts[key] = " ".join(row["description"].split())
        if not texts:
            raise Unreadable("no row")
        return texts, bad


def _spelled(rng: random.Random, rows: list[Row], suffix: str) -> Input:
    """The same table otherwise: separators, quotes, encodings, line ends, order of columns."""
    same = value_of(rows)
    if rng.random() < 0.5:
        order = rng.sample(list(rows[0]), len(rows[0]))
        rows = [{name: row[name] for name in order} for row in rows]
    if rng.random() < 0.3:
        rows = [{**row, "frame_seconds": "[0.5, 1.5]" if suffix != ".jsonl" else [0.5, 1]} for row in rows]
    if suffix == ".parquet":
        return Input("parquet", {"d.parquet": written_table(rows, suffix)}, same=same)
    separator = rng.choice((",", ";", "\t"))
    quote: Literal[0, 1] = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    text = written_table(rows, suffix, separator=separator, quote=quote).decode()
    encoding, ends = rng.choice(list(ENCODINGS)), rng.choice(list(LINE_ENDS))
    if suffix != ".jsonl" and rng.random() < 0.2:
        text = f"sep={separator}\n{text}"
    data = ENCODINGS[encoding](LINE_ENDS[ends](text))
    done = f"{suffix}: separator {separator!r}, quotes {quote}, {encoding}, {ends}"
    return Input(done, {f"d{suffix}": data}, same=same)


def _one_row(rng: random.Random, rows: list[Row], suffix: str) -> Input:
    """One bad row, or one with reasoning in its text: the others stay, and it is told."""
    index = rng.randrange(len(rows))
    row = dict(rows[index])
    how = rng.choice(("unfit", "unknown", "kind", "empty", "twice", "reasoning", "value", "spelling", "no row"))
    name = rng.choice(COLUMNS[:3])
    told: tuple[str, ...] = ("line ",)
    match how:
        case "unfit":
            row[name] = UNFIT[rng.choice(list(UNFIT))](str(row[name]))
        case "unknown":
            row[name] = "stranger"
        case "spelling":
            name = rng.choice(COLUMNS[:2])
            row[name] = rng.choice(list(SPELLINGS.values()))(f"{row[name]} é")
        case "kind":
            row["kind"] = rng.choice(("Key", "keys", "complete ", 1))
        case "empty":
            row[rng.choice(COLUMNS)] = rng.choice(("", " ", "\n"))
        case "twice":
            row = dict(rows[index - 1])
        case "reasoning":
            row["description"] = f"<think>Hm, {row['description']}</think>\n{row['description']}"
            told = ()
        case "value":
            column = rng.choice(("duration", "frame_seconds"))
            row[column] = rng.choice((-1, "x", "1,5", "inf", "[1, 2", "nan", "[true]", "[-1]", "1_0"))
        case _ if suffix == ".jsonl":
            column = rng.choice(COLUMNS)
            row[column] = other_values(row[column], rng)
            told = ()
    mutated = [*rows[:index], row, *rows[index + 1 :]]
    try:
        data = written_table(mutated, suffix, separator="\t" if suffix == ".tsv" else ",")
    except (pa.ArrowException, UnicodeError, ValueError, TypeError):  # what Parquet cannot hold is no input
        return Input("plain", {f"d{suffix}": written_table(rows, suffix)}, same=value_of(rows))
    return Input(f"{suffix}: row {index}: {how}", {f"d{suffix}": data}, told=told if how != "no row" else ())


def _columns(rng: random.Random, rows: list[Row], suffix: str) -> Input:
    """A column that is missing, named otherwise, stands twice, or is one too many."""
    name = rng.choice(COLUMNS)
    match rng.choice(("missing", "renamed", "one more", "twice")):
        case "missing":
            rows = [{key: value for key, value in row.items() if key != name} for row in rows]
            done = "missing"
        case "renamed":
            new = rng.choice((str.upper, str.title, lambda text: f"{text}s", lambda text: f"\ufeff{text}"))(name)
            rows = [{new if key == name else key: value for key, value in row.items()} for row in rows]
            done = "renamed"
        case "one more":
            rows = [{"Spalte Ä": "x", **row} for row in rows]
            return Input("one more", {f"d{suffix}": written_table(rows, suffix)}, same=value_of(rows))
        case _ if suffix in (".csv", ".tsv"):
            text = written_table(rows, suffix).decode()
            data = "".join(f"{name if k == 0 else 'x'},{line}" for k, line in enumerate(text.splitlines(keepends=True)))
            return Input("column twice", {f"d{suffix}": data.encode()}, named=("same name", name))
        case _:
            done = "as it is"
    return Input(f"column {name} {done}", {f"d{suffix}": written_table(rows, suffix)})


def _key(row: Row) -> tuple | None:
    """The key of a row that can be imported."""
    row["description"] = _of_parts(row.get("description"))
    values: list[Any] = [row.get(name) for name in COLUMNS]
    if not all(isinstance(value, str) and value.strip() and _storable(value) for value in values):
        return None
    video, label, kind, text = values
    if video not in [v.video_id for v in _DATASET.videos] or label not in _LABELS or kind not in ("key", "complete"):
        return None
    answer = re.sub(r"\s*<think>.*?</think>\s*", "", text, flags=re.DOTALL)
    if answer != text:
        row["description"] = answer
    for name in ("prompt", "model_id"):
        if name in row and row[name] is not None and not (isinstance(row[name], str) and _storable(row[name])):
            return None
    if row.get("model_id") is not None and not row["model_id"].strip():
        return None
    return (video, label, kind) if answer.strip() and _is_duration(row) and _are_seconds(row) else None


def _of_parts(content: Any) -> Any:
    """The text of a message's content, which servers give as a list of parts, too."""
    if isinstance(content, list):
        return "\n".join(part for part in map(_of_parts, content) if isinstance(part, str))
    return content


def _storable(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" or sign == "\0" for sign in text)


def _is_duration(row: Row) -> bool:
    value = row.get("duration")
    if isinstance(value, str):
        if not re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", value):
            return False
        value = float(value)
    return value is None or (_is_time(value) and value > 0)


def _are_seconds(row: Row) -> bool:
    value = row.get("frame_seconds")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return False
    return value is None or (isinstance(value, list) and all(map(_is_time, value)))


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _plain_csv(path: Path) -> list[Row | None]:
    rows = rows_of(path)
    if not rows:
        return []
    if isinstance(rows[0], str):
        raise Unreadable("no header")
    header = header_of(rows[0])
    if len(set(header)) < len(header):
        raise Unreadable("a column twice")
    _check_columns([dict.fromkeys(header)])
    found: list[Row | None] = []
    for row in rows[1:]:
        if isinstance(row, str) or not fits(row, len(header)):
            found.append(None)
        else:
            found.append({name: cell for name, cell in zip(header, row, strict=False) if cell != ""})
    return found


def _plain_jsonl(path: Path) -> list[Row | None]:
    rows = [_json(line) for line in re.split("\r\n|\r|\n", text_of_table(path)) if line.strip()]
    _check_columns([row for row in rows if row is not None])
    return rows


def _json(line: str) -> Row | None:
    def refuse(pairs: list) -> dict:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return {name: value for name, value in pairs if value is not None}

    try:
        row = json.loads(line, object_pairs_hook=refuse)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _plain_parquet(path: Path) -> list[Row | None]:
    try:
        rows = polars.read_parquet(path.read_bytes(), use_pyarrow=False, memory_map=False).to_dicts()
    except BaseException as error:  # Rust panics, too
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    _check_columns(rows)
    return list(rows)


def _check_columns(rows: Sequence[Row]) -> None:
    names = {name for row in rows for name, value in row.items() if value is not None or len(rows) == 1}
    if names and not names.issuperset(COLUMNS):
        raise Unreadable("a column is missing")


_PLAIN: dict[str, Callable[[Path], list[Row | None]]] = {
    ".csv": _plain_csv,
    ".tsv": _plain_csv,
    ".jsonl": _plain_jsonl,
    ".parquet": _plain_parquet,
}

FORMAT = Descriptions()
