"""Reader of a folder of videos with a CSV table `video,label[,subset]`: weak labels only."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path

from cache.annotations import VideoEntry
from cache.errors import CacheError
from cache.files.csv_text import csv_rows, fitted, named_columns
from cache.files.texts import can_name_a_file, open_text, plain, shown, tidy, unfit
from cache.layouts.found import Found, Quirk
from cache.video_files import NAMED_SUFFIXES, may_be_video, reason
from cache.wording import amount

COLUMNS = ("video", "label", "subset")
NAMES = {
    "video": (
        "video",
        "filename",
        "file",
        "videofile",
        "videoname",
        "videoid",
        "clip",
        "clipname",
        "path",
    ),
    "label": ("label", "labels", "activity", "action", "actionclass", "class", "classname", "category", "actions"),
    "subset": ("subset", "split", "set"),
}
"""What people call the columns, without case, spaces, hyphens and underscores; of several, the first is taken."""
SUBSETS = ("training", "validation", "testing")
SUBSET_NAMES = {"train": "training", "val": "validation", "test": "testing"} | {name: name for name in SUBSETS}
"""In any case."""


@dataclass(frozen=True)
class BadLine:
    """A line of the table that cannot be used."""

    line: int
    reason: str


@dataclass
class _Row:
    """The lines of one video."""

    path: Path
    first_line: int
    subset: str
    labels: list[str] = field(default_factory=list)


def read_folder(videos: Path, labels: Path) -> tuple[Found, list[BadLine]]:
    """Read the table; several rows of a video give it several labels.

    Columns are separated by commas, semicolons or tabs, and called as in `NAMES`, in any case; others are ignored. A
    header is optional; without one the columns are `video,label` or `video,label,subset`, without a subset a video is
    of `training`. A video is a file name (or its path in the folder), with or without suffix. Outside training a label
    may be empty. Raises CacheError if the table cannot be read at all; single lines that cannot be used are returned.
    """
    files, undecodable = video_names(videos)
    rows: dict[Path, _Row] = {}
    bad: list[BadLine] = []
    repeated: list[str] = []
    columns: list[str] = []
    for line, cells in _table(labels, files, columns):
        problem = cells if isinstance(cells, str) else _take(cells, line, files, rows, repeated, videos)
        if problem:
            bad.append(BadLine(line, problem))
    may_be = {path for paths in files.values() for path in paths if may_be_video(path) and path.is_file()}
    unlisted = (path.relative_to(videos).as_posix() for path in sorted(may_be - rows.keys()))
    quirks = (
        Quirk.of("columns", "columns of the table", "read, or ignored", columns, unit="columns"),
        Quirk.of("repeated_lines", "duplicate lines", "counted once", repeated, unit="lines"),
        Quirk.of("undecodable", "files whose names are no UTF-8", "left out; rename them", undecodable, unit="files"),
        Quirk.of("unlisted", "videos of the folder that the table does not name", "left out", unlisted),
    )
    classes = tuple(sorted({label for row in rows.values() for label in row.labels}))
    entries = tuple(_entries(rows, classes))
    found = Found("folder", videos.resolve().name, classes, entries, True, None, tuple(q for q in quirks if q.count))
    return found, bad


def video_names(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Every name that a video may be called by, in Unicode's form NFC; and the files that no text can name."""
    names: dict[str, list[Path]] = {}
    undecodable = []
    for path in sorted(folder.rglob("*")):
        # What has the suffix of a video but is a folder or a pipe is left to the table: its line says why.
        by_name = path.suffix.lower() in NAMED_SUFFIXES
        if path.name.startswith(".") or not (by_name or may_be_video(path)):
            continue
        inside = path.relative_to(folder)
        if unfit(inside.as_posix()) is not None:
            undecodable.append(shown(inside.as_posix()))
            continue
        whole, short = {path.name, inside.as_posix()}, {path.stem, inside.with_suffix("").as_posix()}
        for name in whole if by_name else whole | short:
            names.setdefault(unicodedata.normalize("NFC", name), []).append(path)
    if not names:
        raise CacheError(f"{folder}: found no videos, expected files such as a.mp4, b.MTS, c.webm")
    return names, undecodable


def why_not_found(name: str, line: int, files: Mapping[str, list[Path]], videos: Path) -> str:
    """Why a name of the table is no video's."""
    path = videos / name
    beside: list[str] = []
    if name and all(map(can_name_a_file, Path(name).parts)):
        if (path.exists() or path.is_symlink()) and (why := reason(path)):
            return f"video: found {shown(name)}, which {why}"
        beside = sorted(file.name for file in videos.glob(f"{escape(name)}.*"))
    near = next((known for known in files if known.casefold() == name.casefold()), None)
    hint = "; a header has the columns video,label[,subset]" if line == 1 else ""
    if near is not None:
        hint = f"; there is {shown(near)}"
    elif beside:
        hint = f"; there is {', '.join(map(shown, beside[:3]))}: suffix not known as that of a video"
    return f"video: found {shown(name)}, and no such file in the folder{hint}"


def _table(path: Path, files: Mapping[str, list[Path]], told: list[str]) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Cells by column, or the problem of the line; `told` receives how a header with other names is read."""
    columns: Sequence[str] | None = None
    try:
        with open_text(path) as file:
            for line, row in csv_rows(file):
                cells = row if isinstance(row, str) else [cell.strip() for cell in row]
                if columns is None and isinstance(cells, list):
                    cells = named_columns(cells)
                    columns, is_header = _columns(path, line, cells, files, told)
                    if is_header:
                        continue
                if isinstance(cells, list) and columns is not None:
                    cells = fitted(cells, len(columns))
                    if isinstance(cells, str):
                        cells = f"{cells} ({','.join(filter(None, columns))}); quote a comma that belongs to a name"
                if isinstance(cells, list):
                    values = dict(zip(columns or (), cells, strict=True))
                    wrong = next((wrong for cell in values.values() if (wrong := _unfit(cell))), None)
                    yield line, wrong or values
                else:
                    yield line, cells
    except (OSError, UnicodeError) as error:
        raise CacheError(f"{path}: cannot be read as a table: {error}; save it as CSV in UTF-8") from error
    if columns is None:
        raise CacheError(f"{path}: is empty; expected lines with video,label")


def _unfit(cell: str) -> str:
    wrong = unfit(" ".join(cell.split()))
    return "" if wrong is None else f"found {shown(cell)}, {wrong}; save the table as CSV in UTF-8"


def _columns(
    path: Path, line: int, cells: list[str], files: Mapping[str, list[Path]], told: list[str]
) -> tuple[Sequence[str], bool]:
    """Our name of each column ("" for one that is ignored), and whether the row is a header."""
    names = [re.sub(r"[\W_]", "", tidy(cell).casefold()) for cell in cells]
    taken = {column: next((name for name in known if name in names), None) for column, known in NAMES.items()}
    is_file = bool(cells) and unicodedata.normalize("NFC", cells[0]) in files
    if is_file or not (taken["video"] or taken["label"]):
        if len(cells) not in (2, 3):
            raise CacheError(
                f"{path}: line {line}: found {amount(len(cells), 'field')} ({', '.join(map(shown, cells[:6]))}), "
                "expected video,label[,subset], or a header that names these columns"
            )
        return COLUMNS[: len(cells)], False
    twice = sorted({cell for cell, name in zip(cells, names, strict=True) if name and names.count(name) > 1})
    if twice or not (taken["video"] and taken["label"]):
        known = "; ".join(f"{column}: {', '.join(known)}" for column, known in NAMES.items())
        wrong = f", of which {', '.join(map(shown, twice))} stand twice" if twice else ""
        raise CacheError(
            f"{path}: line {line}: found the columns {plain(','.join(cells))}{wrong}, expected video,label[,subset] "
            f"(names that are known: {known})"
        )
    ours = {name: column for column, name in taken.items() if name}
    columns = [ours.get(name, "") for name in names]
    if any(column != cell.casefold() for column, cell in zip(columns, cells, strict=True)):
        told += [f"{shown(cell)}: {column or 'ignored'}" for column, cell in zip(columns, cells, strict=True)]
    return columns, True


def _take(
    cells: dict[str, str],
    line: int,
    files: dict[str, list[Path]],
    rows: dict[Path, _Row],
    repeated: list[str],
    videos: Path,
) -> str:
    """Add one line to the rows; returns its problem, or an empty text."""
    name, label, subset = cells["video"], cells["label"], cells.get("subset") or "training"
    subset = SUBSET_NAMES.get(subset.casefold(), subset)
    wanted = unicodedata.normalize("NFC", name).replace("\\", "/")
    # The path may be that of the machine that wrote the table.
    paths = files.get(wanted) or files.get(wanted.rpartition("/")[2]) or []
    paths = [path for path in paths if path.name == name] or paths
    if not paths:
        return why_not_found(wanted, line, files, videos)
    if len(paths) > 1:
        return f"video: found {name!r}, which could be {', '.join(path.name for path in paths)}; write the whole name"
    if subset not in SUBSETS:
        return f"subset: found {subset!r}, expected {', '.join(SUBSETS)}"
    if not label and subset == "training":
        return "label: is empty, expected the name of an action class"
    if why := reason(paths[0]):
        return f"video: found {name!r}, which {why}"
    row = rows.get(paths[0])
    if row is None:
        row = rows[paths[0]] = _Row(paths[0], line, subset)
    elif row.subset != subset:
        return f"subset: found {subset!r}, but {row.subset!r} in line {row.first_line} for the same video"
    if label in row.labels:
        repeated.append(f"line {line}: {name}, {label}")
    elif label:
        row.labels.append(label)
    return ""


def _entries(rows: dict[Path, _Row], classes: Sequence[str]) -> Iterator[VideoEntry]:
    for path, video_id in unique_ids(rows):
        row = rows[path]
        labels = tuple(label for label in classes if label in row.labels)
        yield VideoEntry(video_id, row.subset, None, labels, (), path.absolute())


def unique_ids(paths: Collection[Path]) -> Iterator[tuple[Path, str]]:
    """Each file with an id of its own. Raises CacheError where two have one name."""
    stems = Counter(path.stem for path in paths)
    names: dict[str, Path] = {}
    for path in paths:
        # Two files with the same stem would share features and descriptions.
        video_id = path.stem if stems[path.stem] == 1 else path.name
        if video_id in names:
            raise CacheError(f"{path} and {names[video_id]}: have the same name; rename one of them")
        names[video_id] = path
        yield path, video_id
