"""Reader of a folder of videos with a CSV table `video,label[,subset]`: weak labels only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path

from cache.annotations import VideoEntry
from cache.errors import CacheError
from cache.files.records import csv_rows
from cache.layouts.found import Found, Quirk
from cache.video_files import NAMED_SUFFIXES, may_be_video, reason

COLUMNS = ("video", "label", "subset")
SUBSETS = ("training", "validation", "testing")


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

    A header is optional; without one the columns are `video,label` or `video,label,subset`. The default subset is
    `training`. A video is a file name (or a path inside the folder), with or without suffix. Outside training the label
    may be empty. Raises CacheError if the table cannot be read at all; single lines that cannot be used are returned.
    """
    files = _files(videos)
    rows: dict[Path, _Row] = {}
    bad: list[BadLine] = []
    repeated: list[str] = []
    for line, cells in _table(labels):
        reason = cells if isinstance(cells, str) else _take(cells, line, files, rows, repeated, videos)
        if reason:
            bad.append(BadLine(line, reason))
    quirks = []
    if repeated:
        what = "duplicate lines"
        quirks.append(
            Quirk(
                name="repeated_lines",
                what=what,
                done="counted once",
                count=len(repeated),
                unit="lines",
                items=tuple(repeated),
            )
        )
    may_be = {path for paths in files.values() for path in paths if may_be_video(path) and path.is_file()}
    if unlisted := sorted(may_be - rows.keys()):
        what, done = "videos of the folder that the table does not name", "left out"
        names = tuple(path.relative_to(videos).as_posix() for path in unlisted)
        quirks.append(Quirk(name="unlisted", what=what, done=done, count=len(unlisted), items=names))
    classes = tuple(sorted({label for row in rows.values() for label in row.labels}))
    entries = tuple(_entries(rows, classes))
    return Found("folder", videos.resolve().name, classes, entries, True, None, tuple(quirks)), bad


def _files(folder: Path) -> dict[str, list[Path]]:
    """Files by every name that may refer to them."""
    names: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        # What has the suffix of a video but is a folder or a pipe is left to the table: its line says why.
        by_name = path.suffix.lower() in NAMED_SUFFIXES
        if path.name.startswith(".") or not (by_name or may_be_video(path)):
            continue
        inside = path.relative_to(folder)
        whole, short = {path.name, inside.as_posix()}, {path.stem, inside.with_suffix("").as_posix()}
        for name in whole if by_name else whole | short:
            names.setdefault(name, []).append(path)
    if not names:
        raise CacheError(f"{folder}: found no videos, expected files such as a.mp4, b.MTS, c.webm")
    return names


def _not_found(name: str, videos: Path) -> str:
    """Why a name of the table is no video's."""
    path = videos / name
    if ".." not in path.parts and "\0" not in name and (path.exists() or path.is_symlink()) and (why := reason(path)):
        return f"video: found {name!r}, which {why}"
    beside = sorted(file.name for file in videos.glob(f"{escape(name)}.*")) if "\0" not in name else []
    shown = f"; there is {', '.join(beside[:3])}: suffix not known as that of a video" if beside else ""
    return f"video: found {name!r}, and no such file in the folder{shown}"


def _table(path: Path) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Cells by column, or the problem of the line."""
    columns: Sequence[str] | None = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in csv_rows(file):
                cells = row if isinstance(row, str) else [cell.strip() for cell in row]
                if isinstance(cells, list) and not any(cells):
                    continue
                if columns is None and isinstance(cells, list):
                    columns, is_header = _columns(path, line, cells)
                    if is_header:
                        continue
                if isinstance(cells, str):
                    yield line, cells
                elif columns is not None and len(cells) != len(columns):
                    expected = ",".join(columns)
                    yield line, f"found {len(cells)} fields, expected {expected}; quote a comma that belongs to a name"
                else:
                    yield line, dict(zip(columns or (), cells, strict=True))
    except (OSError, UnicodeDecodeError) as error:
        raise CacheError(f"{path}: cannot be read as a table in UTF-8: {error}") from error
    if columns is None:
        raise CacheError(f"{path}: is empty; expected lines with video,label")


def _columns(path: Path, line: int, cells: list[str]) -> tuple[Sequence[str], bool]:
    names = [cell.lower() for cell in cells]
    if not {"video", "label"} & set(names):
        if len(cells) not in (2, 3):
            hint = (
                "; its columns seem to be separated by ';' or tabs" if any(s in "".join(cells) for s in ";\t") else ""
            )
            raise CacheError(f"{path}: line {line}: found {len(cells)} fields, expected video,label[,subset]{hint}")
        return COLUMNS[: len(cells)], False
    if len(set(names)) != len(names) or not {"video", "label"} <= set(names) <= set(COLUMNS):
        raise CacheError(f"{path}: line {line}: found the columns {','.join(cells)}, expected video,label[,subset]")
    return names, True


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
    paths = files.get(name, [])
    if not paths:
        return _not_found(name, videos)
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
    stems = Counter(path.stem for path in rows)
    names: dict[str, Path] = {}
    for path, row in rows.items():
        # Two files with the same stem would share features and descriptions.
        video_id = path.stem if stems[path.stem] == 1 else path.name
        if video_id in names:
            raise CacheError(f"{path} and {names[video_id]}: have the same name; rename one of them")
        names[video_id] = path
        labels = tuple(label for label in classes if label in row.labels)
        yield VideoEntry(video_id, row.subset, None, labels, (), path.absolute())
