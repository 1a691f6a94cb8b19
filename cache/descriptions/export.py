"""Export of caches: a table as JSONL, or a folder that Hugging Face `datasets` loads, with its data card."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from cache.annotations import Dataset
from cache.descriptions.class_texts import TEMPLATE, class_words
from cache.descriptions.data_card import CardContent, TableCard, data_card
from cache.errors import CacheError
from cache.files.atomic import atomic_path
from cache.tables.embeddings import VOCABULARY_TABLE, open_tokens
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, VOCABULARY_KEY, vocabulary_schema
from cache.tables.store import PartStore

Table = Literal["descriptions", "tokens", "vocabulary"]
_BATCH = 1024
_VOCABULARY_SPLIT = "train"
"""Name of the split of a table without splits."""


Wanted = Callable[[Mapping[str, Any]], bool]
"""Whether a row goes into an export."""


@dataclass(frozen=True)
class Exported:
    """Result of an export."""

    path: Path
    rows: Mapping[Table, int]
    left_out: int
    """Number of rows left out, because the annotations do not have their videos."""


def open_tables(descriptions: Path, embeddings: Path | None) -> dict[Table, PartStore]:
    """The tables of a cache: descriptions, and with `embeddings` tokens and vocabulary.

    Raises CacheError if one is missing or damaged.
    """
    tables: dict[Table, PartStore] = {"descriptions": PartStore.open(descriptions, DESCRIPTIONS, key=DESCRIPTION_KEY)}
    if embeddings is not None:
        width = _vector_width(embeddings / VOCABULARY_TABLE)
        tables["tokens"] = open_tokens(embeddings)
        tables["vocabulary"] = PartStore.open(
            embeddings, vocabulary_schema(width), key=VOCABULARY_KEY, table=VOCABULARY_TABLE
        )
    return tables


def wanted_rows(dataset: Dataset, tables: Mapping[Table, PartStore]) -> dict[Table, Wanted]:
    """For each table, a filter for the rows of the videos of `dataset`; for the vocabulary, the words of these rows and
    of class names. A video that was removed from the annotations is not exported.

    Memory: the ids of the videos and of the words. Raises CacheError if a file cannot be read.
    """
    videos = {video.video_id for video in dataset.videos}

    def of_videos(row: Mapping[str, Any]) -> bool:
        return row["video_id"] in videos

    wanted: dict[Table, Wanted] = dict.fromkeys(tables, of_videos)
    if "vocabulary" in tables:
        rows = filter(of_videos, _rows(tables["tokens"], ["video_id", "token_ids", "description_sha256"]))
        used = {token_id for row in rows for token_id in row["token_ids"]}
        names = {*TEMPLATE, *(word for label in dataset.classes for word in class_words(label))}
        wanted["vocabulary"] = lambda row: row["token_id"] in used or row["word"] in names
    return wanted


def export_jsonl(dataset: Dataset, tables: Mapping[Table, PartStore], name: Table, path: Path) -> Exported:
    """Write the last row of each key of a table, with all columns, as one JSON object per line.

    Rows of videos that `dataset` does not have are left out. Rows are streamed, so memory does not grow with the table.
    Raises CacheError if `path` exists.
    """
    _refuse_to_overwrite(path)
    wanted = wanted_rows(dataset, tables)[name]
    lines = left_out = 0
    with atomic_path(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for row in _rows(tables[name]):
            if wanted(row):
                file.write(json.dumps(row, default=_plain, ensure_ascii=False) + "\n")
                lines += 1
            elif name != "vocabulary":
                left_out += 1
    return Exported(path, {name: lines}, left_out)


def export_datasets(dataset: Dataset, tables: Mapping[Table, PartStore], folder: Path) -> Exported:
    """Write data/<table>/<split>.parquet and README.md, the card, so that `datasets.load_dataset(folder, table)` works.

    Splits are the subsets of `dataset`; rows of videos that it does not have are left out, and counted in the card. The
    host name is removed from the column made_by, since such folders are published. Rows are streamed. Raises CacheError
    if `folder` exists, no row is of a video of `dataset`, or two subsets would be the same split.
    """
    _refuse_to_overwrite(folder)
    splits, wanted = _splits(dataset), wanted_rows(dataset, tables)
    with _unfinished_folder(folder) as unfinished:
        cards, left_out = {}, 0
        figures = _Figures()
        for name, store in tables.items():
            rows = _rows(store)
            if name == "descriptions":
                rows = figures.watch(map(_without_host, rows), splits)
            split_of = None if name == "vocabulary" else splits
            cards[name], not_wanted = _write_table(store, rows, wanted[name], split_of, unfinished, name)
            left_out += not_wanted if name != "vocabulary" else 0
        if not cards["descriptions"].rows:
            raise CacheError(f"{tables['descriptions'].folder}: has no row of a video of dataset {dataset.name}")
        card = CardContent(
            dataset=dataset.name,
            classes=len(dataset.classes),
            recipe=tables["descriptions"].recipe,
            fingerprint=tables["descriptions"].home.name,
            tables=tuple(card for card in cards.values() if card.rows),
            states=figures.states,
            flags=figures.flags,
            made_by=figures.made_by,
            generation=figures.generation,
            left_out=left_out,
        )
        (unfinished / "README.md").write_text(data_card(card), encoding="utf-8")
    return Exported(folder, {name: sum(card.rows.values()) for name, card in cards.items()}, left_out)


class _Figures:
    """Counts for the card, collected while rows are streamed."""

    def __init__(self) -> None:
        self.states: Counter[tuple[str, str, str]] = Counter()
        """split, kind, status."""
        self.flags: Counter[tuple[str, str]] = Counter()
        """flag, kind."""
        self.made_by: Counter[str] = Counter()
        self.generation: Counter[str] = Counter()

    def watch(self, rows: Iterable[dict[str, Any]], splits: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        for row in rows:
            if row["video_id"] in splits:
                self.states[splits[row["video_id"]], row["kind"], row["status"]] += 1
                self.flags.update((flag, row["kind"]) for flag in row["flags"])
                self.made_by[row["made_by"]] += 1
                self.generation[row["generation"]] += 1
            yield row


def _rows(table: PartStore, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The current rows; of tokens, without those marked as deleted."""
    for row in table.rows(columns):
        if row.get("description_sha256") != "":
            yield row


def _without_host(row: dict[str, Any]) -> dict[str, Any]:
    made_by = json.loads(row["made_by"])
    return {**row, "made_by": json.dumps({name: made_by[name] for name in sorted(made_by) if name != "host"})}


def _write_table(
    store: PartStore,
    rows: Iterable[dict[str, Any]],
    wanted: Wanted,
    splits: Mapping[str, str] | None,
    root: Path,
    name: Table,
) -> tuple[TableCard, int]:
    """Write one Parquet file per split. Returns the card and the number of rows that are not wanted."""
    counts: Counter[str] = Counter()
    waiting: dict[str, list[dict[str, Any]]] = {}
    left_out = 0
    with ExitStack() as files:
        writers: dict[str, pq.ParquetWriter] = {}

        def flush(split: str) -> None:
            if split not in writers:
                path = root / "data" / name / f"{split}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                writers[split] = files.enter_context(pq.ParquetWriter(path, store.schema, compression="zstd"))
            writers[split].write_table(pa.Table.from_pylist(waiting.pop(split), schema=store.schema))

        for row in rows:
            if not wanted(row):
                left_out += 1
                continue
            split = _VOCABULARY_SPLIT if splits is None else splits[row["video_id"]]
            counts[split] += 1
            batch = waiting.setdefault(split, [])
            batch.append(row)
            if len(batch) == _BATCH:
                flush(split)
        for split in list(waiting):
            flush(split)
    return TableCard(name, store.schema, dict(sorted(counts.items()))), left_out


def _vector_width(folder: Path) -> int:
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise CacheError(f"{folder}: holds no word vectors; run `make priors` to make them")
    try:
        return pq.read_schema(parts[0]).field("vector").type.list_size
    except (pa.ArrowException, OSError, KeyError) as error:
        raise CacheError(f"{parts[0]}: cannot be read: {error}; move it away and run `make priors` again") from error


def _splits(dataset: Dataset) -> dict[str, str]:
    """The split of each video: its subset as a valid name for `datasets`."""
    names = {video.subset: re.sub(r"\W+", "_", video.subset) or "_" for video in dataset.videos}
    if twice := [name for name, count in Counter(names.values()).items() if count > 1]:
        same = sorted(subset for subset, name in names.items() if name == twice[0])
        raise CacheError(f"dataset {dataset.name}: subsets {same} would all be the split {twice[0]!r}; rename one")
    return {video.video_id: names[video.subset] for video in dataset.videos}


@contextmanager
def _unfinished_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, renamed to it on success and removed on any error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".unfinished-{os.getpid()}-{folder.name}")
    unfinished.mkdir()
    try:
        yield unfinished
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _refuse_to_overwrite(path: Path) -> None:
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise CacheError(f"{path}: exists already, and is not overwritten; move it away or choose another --to")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
