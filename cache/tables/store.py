"""PartStore: rows in small immutable Parquet files ("parts"). The newest row of a key is valid; runs resume by key."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cache.errors import CacheError
from cache.files.atomic import atomic_path, remove_unfinished
from cache.files.lock import Shard, hold
from cache.recipe import Recipe, differences, fingerprint_of
from cache.tables.columns import holds_vectors, to_table
from cache.tables.schema import SCHEMA_VERSION

RECIPE_FILE = "recipe.json"
_ROW_GROUP, _MERGED_ROWS = 256, 2048  # merging takes some 13 kB of memory a row


class PartStore:
    """The table at `<root>/<fingerprint>` (or a named table below it): `part-<time>-<writer>.parquet` and recipe.json.

    Parts are immutable and hold their recipe and schema version in the Parquet metadata. Files whose name starts with a
    dot are not read. Several processes may append to one folder; `lock` keeps a second *run* out.
    """

    def __init__(self, home: Path, schema: pa.Schema, *, key: tuple[str, ...], table: str = "") -> None:
        self.home = home
        """The fingerprint folder, which holds recipe.json."""
        self.folder = home / table
        """Folder of the parts."""
        self.schema = schema
        self.key = key
        self.recipe: dict[str, Any] = _read_json(home / RECIPE_FILE)
        """The recipe that made the rows, as JSON."""
        for part in self._parts():
            self._open_part(part).close()

    @classmethod
    def create(
        cls, root: Path, recipe: Recipe, schema: pa.Schema, *, key: tuple[str, ...], table: str = ""
    ) -> PartStore:
        """Create or reopen `<root>/<recipe.fingerprint()>/<table>`, and remove unfinished files of killed writers.

        Raises CacheError if the folder was made by another recipe or schema, or holds an unreadable part, or if the
        rows are in a folder with the recipe's name of version 0.1.
        """
        home = root / recipe.fingerprint()
        if (former := former_folder(root, recipe)) is not None:
            raise CacheError(
                f"{former}: holds the rows of {home.name} under the name that version 0.1 gave it; run "
                "`make migrate` (with the PRESET of this dataset) to rename it, and then this command again"
            )
        (home / table).mkdir(parents=True, exist_ok=True)
        remove_unfinished(home / table)
        if not (home / RECIPE_FILE).exists():
            recipe.save(home / RECIPE_FILE)
        store = cls(home, schema, key=key, table=table)
        store.require(recipe)
        return store

    @classmethod
    def open(cls, folder: Path, schema: pa.Schema, *, key: tuple[str, ...], table: str = "") -> PartStore:
        """Open `<root>/<fingerprint>` (and the table in it) for reading. Raises CacheError if it does not exist."""
        if not (folder / RECIPE_FILE).exists() or not (folder / table).is_dir():
            raise CacheError(f"{folder / table}: no such table; run `make priors` to make it")
        return cls(folder, schema, key=key, table=table)

    def require(self, recipe: Recipe) -> None:
        """Raise CacheError, naming the fields, unless `recipe` made the rows: a store never mixes rows of two
        recipes."""
        path = self.home / RECIPE_FILE
        found = type(recipe).parse(self.recipe, source=str(path))
        if differ := differences(found, recipe):
            lines = [f"  {name}: found {before!r}, expected {now!r}" for name, (before, now) in differ.items()]
            head = f"{path}: was made by another recipe; move the folder away and run again"
            raise CacheError("\n".join([head, *lines]))

    def adopt(self, other: PartStore) -> int:
        """Move every part of another table into this one, as rows of this table's recipe; returns how many.

        Call it under the locks of both. If it is interrupted, call it again.
        """
        parts = other._parts()
        for path in parts:
            self._write(other._read(path, self.schema.names), self.folder / path.name)
            path.unlink()
        return len(parts)

    def lock(self, *, shard: Shard | None = None, wait: bool = False) -> AbstractContextManager[None]:
        """Lock this folder for one run, or one shard of a run. Raises CacheError naming the owner if another has it."""
        return hold(self.folder, shard=shard, wait=wait)

    def part_names(self, count: int) -> list[str]:
        """Names for `count` parts, in order, that are newer than all existing ones.

        With names assigned beforehand, a process can take over from one that died: it can check whether the part was
        written (`part`), and can only replace it, never duplicate its rows.
        """
        # Names sort by time, even if the clock was set back since the last part.
        newest = max((int(path.name.split("-")[1]) for path in self._parts()), default=0)
        first = max(time.time_ns(), newest + 1)
        writer = f"{os.getpid():x}{secrets.token_hex(3)}"
        return [f"part-{first + number:020d}-{writer}.parquet" for number in range(count)]

    def part(self, name: str, columns: Sequence[str]) -> list[dict[str, Any]] | None:
        """All rows of the part of that name; None if it has not been written."""
        path = self.folder / name
        return self._read(path, columns).select(list(columns)).to_pylist() if path.exists() else None

    def append(self, rows: Sequence[Any], *, name: str | None = None) -> Path:
        """Write one part from dataclass rows: sorted by key, zstd, 256-row groups; fsynced, then renamed into place.

        `name` is one of `part_names`, if the name was assigned beforehand; an existing part of that name is replaced.
        Raises CacheError, before anything is written, if there is no row, a key occurs twice, or a row does not fit the
        schema (unknown or missing column, null or value of the wrong type).
        """
        if not rows:
            raise CacheError(f"{self.folder}: a part needs at least one row")
        table = to_table(rows, self.schema)
        if table.group_by(list(self.key)).aggregate([]).num_rows != table.num_rows:
            raise CacheError(f"{self.folder}: found the same {self.key} twice in one part")
        part = self.folder / (name or self.part_names(1)[0])
        self._write(table, part)
        return part

    def table(self, columns: Sequence[str] | None = None, *, sort: bool = True) -> pa.Table:
        """The newest row of each key, sorted by key (or in the order of writing), with all columns or those given.

        Arrow's offsets have 31 bits: sorting fails if a text column holds more than 2 GiB (some 1.8 million long
        descriptions); `rows` has no such limit.
        """
        wanted = list(columns) if columns is not None else self.schema.names
        everything = self._read_all(self._parts(), wanted)
        newest = _last_rows(everything, self.key)
        rows = everything if newest.all() else everything.filter(pa.array(newest))
        return (rows.sort_by([(name, "ascending") for name in self.key]) if sort else rows).select(wanted)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """The newest row of each key as a dictionary of the columns, in no particular order.

        One row group is in memory at a time, so memory does not grow with the texts.
        """
        wanted = list(columns) if columns is not None else self.schema.names
        parts, start = self._parts(), 0
        newest = pa.array(_last_rows(self._read_all(parts, ()), self.key))
        for path in parts:
            for table in self._read_groups(path, wanted):
                yield from table.filter(newest[start : start + table.num_rows]).select(wanted).to_pylist()
                start += table.num_rows

    def done(self) -> set[tuple]:
        """Keys that need no more work: those whose newest row is ok, or all if the table has no status."""
        has_status = "status" in self.schema.names
        table = self.table([*self.key, *(["status"] if has_status else [])])
        if has_status:
            table = table.filter(pc.field("status") == "ok")
        return set(zip(*(_shared_values(table[name]) for name in self.key), strict=True))

    def compact(self) -> int:
        """Merge consecutive small parts into larger ones; returns by how many the number of parts is reduced.

        Call it under the lock. If it is interrupted, some rows are in two parts, which changes no result.
        """
        before = self._parts()
        for run in self._small_runs(before):
            rows = pa.concat_tables([self._read(path, self.schema.names) for path in run])
            merged = rows.filter(pa.array(_last_rows(rows, self.key)))
            # Named after its newest part, so that the order of parts is kept.
            stem = run[-1].stem.rsplit("-", 1)[0]
            self._write(merged, self.folder / f"{stem}-m{secrets.token_hex(4)}.parquet")
            for path in run:
                path.unlink()
        return len(before) - len(self._parts())

    def _small_runs(self, parts: list[Path]) -> list[list[Path]]:
        runs: list[list[Path]] = [[]]
        rows = 0
        for path in parts:
            with self._open_part(path) as part:
                count = part.metadata.num_rows
            if rows + count > _MERGED_ROWS:
                runs.append([])
                rows = 0
            runs[-1].append(path)
            rows += count
        return [run for run in runs if len(run) > 1]

    def _read_all(self, parts: list[Path], names: Sequence[str]) -> pa.Table:
        return pa.concat_tables([self._schema_of(names).empty_table(), *(self._read(path, names) for path in parts)])

    def _read(self, path: Path, names: Sequence[str]) -> pa.Table:
        return pa.concat_tables(self._read_groups(path, names, whole=True))

    def _read_groups(self, path: Path, names: Sequence[str], *, whole: bool = False) -> Iterator[pa.Table]:
        schema = self._schema_of(names)
        with self._open_part(path) as part:
            groups = range(part.num_row_groups)
            for chosen in [list(groups)] if whole else [[group] for group in groups]:
                try:
                    table = part.read_row_groups(chosen, columns=schema.names)
                    yield table.select(schema.names).replace_schema_metadata(None).cast(schema)
                except (pa.ArrowException, OSError) as error:
                    raise _unreadable(path, error) from error

    def _schema_of(self, names: Sequence[str]) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in dict.fromkeys([*self.key, *names])])

    def _write(self, table: pa.Table, part: Path) -> None:
        metadata = {
            "recipe": json.dumps(self.recipe, ensure_ascii=False),
            "fingerprint": self.home.name,
            "schema_version": str(SCHEMA_VERSION),
        }
        table = table.sort_by([(name, "ascending") for name in self.key]).replace_schema_metadata(metadata)
        vectors = any(map(holds_vectors, table.schema.types))
        with atomic_path(part) as unfinished:
            pq.write_table(
                table,
                unfinished,
                row_group_size=_ROW_GROUP,
                # Vectors hardly compress, and are read faster without compression.
                compression="none" if vectors else "zstd",
                compression_level=None if vectors else 3,
                use_dictionary=[name for name in _DICTIONARY if name in self.schema.names],  # pyright: ignore[reportArgumentType]
                write_statistics=list(self.key),  # pyright: ignore[reportArgumentType]  # stubs know only bool
            )

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _open_part(self, path: Path) -> pq.ParquetFile:
        try:
            part = pq.ParquetFile(path)
        except FileNotFoundError:
            raise CacheError(f"{self.folder}: a run merged its parts while they were read; run this again") from None
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error
        metadata = part.schema_arrow.metadata or {}
        expected = {b"schema_version": str(SCHEMA_VERSION).encode(), b"fingerprint": self.home.name.encode()}
        for name, value in expected.items():
            if metadata.get(name) != value:
                part.close()
                raise CacheError(
                    f"{path}: {name.decode()}: found {metadata.get(name, b'none').decode()}, expected "
                    f"{value.decode()}; move the file away and run `make priors` again"
                )
        if not part.schema_arrow.equals(self.schema):
            part.close()
            raise CacheError(f"{path}: its columns are not those of this table; expected {self.schema.names}")
        return part


def former_folder(root: Path, recipe: Recipe) -> Path | None:
    """The folder of this recipe's rows, if it has the name of version 0.1: the hash of the whole recipe, with
    defaults."""
    name = recipe.fingerprint()
    for file in sorted(root.glob(f"[!.]*/{RECIPE_FILE}")):
        with suppress(CacheError):  # a damaged file, or a recipe of another kind
            document = _read_json(file)
            if file.parent.name == fingerprint_of(document) != name:
                found = type(recipe).parse(document, source=str(file))
                if found.fingerprint() == name:
                    return file.parent
    return None


_DICTIONARY = (
    "video_id",
    "action_class",
    "kind",
    "prompt",
    "status",
    "model_id",
    "model_revision",
    "generation",
    "made_by",
)


def _last_rows(keys: pa.Table, key: tuple[str, ...]) -> np.ndarray:
    """(rows,) bool: whether the row is the newest one of its key."""
    numbered = keys.select(list(key)).append_column("row", pa.array(np.arange(keys.num_rows)))
    last = numbered.group_by(list(key)).aggregate([("row", "max")])
    newest = np.zeros(keys.num_rows, bool)
    newest[last["row_max"].to_numpy()] = True
    return newest


def _shared_values(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column, with equal ones as one object: a million keys have few classes."""
    coded = column.combine_chunks().dictionary_encode()
    values = coded.dictionary.to_pylist()
    return [values[index] for index in coded.indices.to_pylist()]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CacheError(f"{path}: cannot be read: {error}") from error


def _unreadable(path: Path, error: Exception) -> CacheError:
    return CacheError(f"{path}: cannot be read: {error}; move it away and run `make priors` again for its rows")
