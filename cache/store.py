"""PartStore: rows in small immutable Parquet parts. The last row of a key wins; resume is answered from the rows."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cache.atomic import atomic_path, remove_unfinished
from cache.recipe import Recipe
from cache.schema import SCHEMA_VERSION, CacheError

RECIPE_FILE = "recipe.json"
_ROW_GROUP = 256


class PartStore:
    """The table at `<root>/<fingerprint>` (or a named table below it): `part-<time>-<writer>.parquet` and recipe.json.

    Parts are immutable and hold their recipe and schema version in the Parquet metadata. Files whose name starts with a
    dot are not read. Several processes may append to one folder; `lock` keeps a second *run* out.
    """

    def __init__(self, home: Path, schema: pa.Schema, *, key: tuple[str, ...], table: str = "") -> None:
        self.home = home
        """The fingerprint folder, with recipe.json."""
        self.folder = home / table
        """Where the parts lie."""
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
        """Make `<root>/<recipe.fingerprint()>/<table>`, or reopen it, and clear away what killed writers left.

        Raises CacheError if the folder was made by another recipe or schema, or holds an unreadable part.
        """
        home = root / recipe.fingerprint()
        (home / table).mkdir(parents=True, exist_ok=True)
        remove_unfinished(home / table)
        if not (home / RECIPE_FILE).exists():
            recipe.save(home / RECIPE_FILE)
        found, expected = _read_json(home / RECIPE_FILE), recipe.model_dump(mode="json")
        if found != expected:
            names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            raise CacheError(
                f"{home / RECIPE_FILE}: was made by another recipe: field {names[0]!r} is {found.get(names[0])!r}, "
                f"expected {expected.get(names[0])!r}; move the folder away and run again"
            )
        return cls(home, schema, key=key, table=table)

    @classmethod
    def open(cls, folder: Path, schema: pa.Schema, *, key: tuple[str, ...], table: str = "") -> PartStore:
        """Open `<root>/<fingerprint>` (and the table in it) for reading. Raises CacheError if it is not there."""
        if not (folder / RECIPE_FILE).exists() or not (folder / table).is_dir():
            raise CacheError(f"{folder / table}: no such table; run `make priors` to make it")
        return cls(folder, schema, key=key, table=table)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this folder for one run. Raises CacheError naming the owner (host, pid, start) if another run has it.

        The lock belongs to the process, not to the file, so a killed run leaves none behind.
        """
        with open(self.folder / ".lock", "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip() or "another run"
                raise CacheError(
                    f"{self.folder}: is being written by {owner}; wait until it ends, or stop it"
                ) from None
            file.truncate(0)
            started = datetime.now(UTC).isoformat(timespec="seconds")
            file.write(f"host {socket.gethostname()}, pid {os.getpid()}, started {started}")
            file.flush()
            yield

    def append(self, rows: Sequence[Any]) -> Path:
        """Write one part from dataclass rows: sorted by key, zstd, 256-row groups; fsynced, then renamed into place.

        Raises CacheError, before anything is written, if there is no row, a key stands there twice, or a row does not
        fit the schema (unknown or missing column, null or value of the wrong type).
        """
        if not rows:
            raise CacheError(f"{self.folder}: a part needs at least one row")
        table = _to_table(rows, self.schema)
        if table.group_by(list(self.key)).aggregate([]).num_rows != table.num_rows:
            raise CacheError(f"{self.folder}: the same {self.key} stands twice in one part")
        metadata = {
            "recipe": json.dumps(self.recipe, ensure_ascii=False),
            "fingerprint": self.home.name,
            "schema_version": str(SCHEMA_VERSION),
        }
        table = table.sort_by([(name, "ascending") for name in self.key]).replace_schema_metadata(metadata)
        part = self.folder / self._part_name()
        with atomic_path(part) as unfinished:
            pq.write_table(
                table,
                unfinished,
                row_group_size=_ROW_GROUP,
                compression="zstd",
                compression_level=3,
                use_dictionary=[name for name in _DICTIONARY if name in self.schema.names],  # pyright: ignore[reportArgumentType]
                write_statistics=list(self.key),  # pyright: ignore[reportArgumentType]  # stubs know only bool
            )
        return part

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The last row of each key, sorted by key; all columns, or those named."""
        wanted = list(columns) if columns is not None else self.schema.names
        read = list(dict.fromkeys([*self.key, *wanted]))
        schema = pa.schema([self.schema.field(name) for name in read])
        parts = []
        for path in self._parts():
            with self._open_part(path) as part:
                try:
                    parts.append(part.read(columns=read).select(read).replace_schema_metadata(None).cast(schema))
                except (pa.ArrowException, OSError) as error:
                    raise _unreadable(path, error) from error
        everything = pa.concat_tables(parts) if parts else schema.empty_table()
        numbered = everything.select(list(self.key)).append_column("row", pa.array(np.arange(everything.num_rows)))
        last = numbered.group_by(list(self.key)).aggregate([("row", "max")])
        last = last.sort_by([(name, "ascending") for name in self.key])
        return everything.take(last["row_max"]).select(wanted)

    def done(self) -> set[tuple]:
        """Keys that need no more work: those whose last row is ok, or all where the table has no status."""
        has_status = "status" in self.schema.names
        table = self.table([*self.key, *(["status"] if has_status else [])])
        if has_status:
            table = table.filter(pc.field("status") == "ok")
        return set(zip(*(table[name].to_pylist() for name in self.key), strict=True))

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _part_name(self) -> str:
        # The order of names is the order of time, even if the clock was set back since the last part.
        newest = max((int(path.name.split("-")[1]) for path in self._parts()), default=0)
        return f"part-{max(time.time_ns(), newest + 1):020d}-{os.getpid():x}{secrets.token_hex(3)}.parquet"

    def _open_part(self, path: Path) -> pq.ParquetFile:
        try:
            part = pq.ParquetFile(path)
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


_DICTIONARY = ("video_id", "action_class", "kind", "prompt", "status", "model_id", "model_revision", "generation")


def only_fingerprint(root: Path, *, made_by: str, chosen_by: str = "") -> Path:
    """The one fingerprint folder under `root`.

    Raises CacheError if there is none (naming the command `made_by` that makes one), or several (listing each with its
    model and date, and the option `chosen_by` that chooses).
    """
    folders = sorted(path.parent for path in root.glob(f"[!.]*/{RECIPE_FILE}"))
    if not folders:
        raise CacheError(f"{root}: nothing there yet; run `{made_by}`")
    if len(folders) == 1:
        return folders[0]
    hint = f"; choose with {chosen_by}" if chosen_by else ""
    lines = [f"{root}: holds {len(folders)} sets made by different recipes{hint}"]
    for folder in folders:
        recipe = _read_json(folder / RECIPE_FILE)
        made = datetime.fromtimestamp((folder / RECIPE_FILE).stat().st_mtime, UTC)
        summary = ", ".join(f"{name} {value}" for name, value in recipe.items() if isinstance(value, (str, int)))
        lines.append(f"  {folder}  {made:%Y-%m-%d %H:%M} UTC  {summary[:160]}")
    raise CacheError("\n".join(lines))


def _to_table(rows: Sequence[Any], schema: pa.Schema) -> pa.Table:
    names = [field.name for field in fields(rows[0])]
    if set(names) != set(schema.names):
        odd = sorted(set(names) ^ set(schema.names))
        raise CacheError(f"{type(rows[0]).__name__}: fields and columns differ in {odd}")
    columns = []
    for field in schema:
        values = [getattr(row, field.name) for row in rows]
        try:
            column = _to_array(values, field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise CacheError(f"column {field.name}: a value does not fit {field.type}: {error}") from error
        if column.null_count and not field.nullable:
            raise CacheError(f"column {field.name}: holds a null, and must not")
        if pa.types.is_list(field.type) and column.flatten().null_count:
            raise CacheError(f"column {field.name}: a list in it holds a null, and must not")
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def _to_array(values: list, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        block = np.stack(values).astype(np.float32, casting="safe")
        if block.shape[1:] != (kind.list_size,):
            raise ValueError(f"found shape {block.shape[1:]}")
        return pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), type=kind)
    return pa.array(values, type=kind)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CacheError(f"{path}: cannot be read: {error}") from error


def _unreadable(path: Path, error: Exception) -> CacheError:
    return CacheError(f"{path}: cannot be read: {error}; move it away and run `make priors` again: its rows are remade")
