"""labels.csv of one's own videos: weak labels, as people write them."""

from __future__ import annotations

import csv
import io
import random
import unicodedata
from pathlib import Path
from typing import Any, Literal

from benchmarks.fuzzing.mutations.noise import another, noise
from benchmarks.fuzzing.mutations.texts import ENCODINGS, LINE_ENDS, LOOK_ALIKE, SPELLINGS, UNFIT
from benchmarks.fuzzing.plain.plain_json import tidy
from benchmarks.fuzzing.plain.plain_tables import fits, header_of, rows_of
from benchmarks.fuzzing.trials import Input, Read, Unreadable
from cache.errors import CacheError
from cache.layouts.folder import read_folder
from cache.layouts.labels import named

FILE = "labels.csv"
_VIDEOS = ("a.mp4", "b c.mkv", "été.webm", "体操.MTS", "sub/d.avi")
_LABELS = ("Dive", "High Kick", "Café crème", "跳水")
_SUBSETS = ("training", "validation", "testing")
_HEADERS = {
    "video,label,subset": ("video", "label", "subset"),
    "upper case": ("Video", "LABEL", "Subset"),
    "other names": ("file name", "action_class", "split"),
    "none": None,
}
Row = tuple[str, str, str]


def draw_rows(rng: random.Random) -> list[Row]:
    """A video a row, some with a second one for another label."""
    rows = [(name, rng.choice(_LABELS), rng.choice(_SUBSETS)) for name in rng.sample(_VIDEOS, rng.randint(3, 5))]
    name, label, subset = rng.choice(rows)
    return [*rows, (name, next(other for other in _LABELS if other != label), subset)]


def table_of(rows: list[Row], header: tuple[str, ...] | None, separator: str = ",", quote: Literal[0, 1] = 0) -> str:
    """As a spreadsheet writes it."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=quote, lineterminator="\n")
    writer.writerows([*([header] if header else []), *rows])
    return text.getvalue()


def value_of(rows: list[Row]) -> tuple:
    """Classes, and subset and labels of each video, of rows as they should be."""
    classes = tuple(sorted({tidy(label) for _, label, _ in rows if label}))
    videos = {}
    for name in dict.fromkeys(name for name, _, _ in rows):
        own = {tidy(label) for other, label, _ in rows if other == name}
        subset = next(subset for other, _, subset in rows if other == name)
        videos[Path(name).stem] = (subset, tuple(sorted(own)))
    return classes, videos


def _files(table: bytes) -> dict[str, bytes]:
    return {FILE: table, **{f"videos/{name}": b"" for name in _VIDEOS}}


class Labels:
    """See `Format`."""

    name = "labels"
    share = 12

    def draw(self, rng: random.Random) -> Input:
        """See `Format`."""
        rows = draw_rows(rng)
        kind = rng.choice(("spelled", "spelled", "names", "names", "a row", "a row", "noise", "noise", "another"))
        match kind:
            case "spelled":
                return _spelled(rng, rows)
            case "names":
                return _names(rng, rows)
            case "a row":
                return _one_row(rng, rows)
            case _:
                table = table_of(rows, _HEADERS["video,label,subset"]).encode()
                done, data = (noise if kind == "noise" else another)(table, rng)
                return Input(done, _files(data))

    def read(self, folder: Path) -> Read:
        """See `Format`."""
        found, bad = read_folder(folder / "videos", folder / FILE)
        if not found.videos:  # as the command says it
            raise CacheError(f"{folder / FILE}: {'; '.join(f'line {one.line}: {one.reason}' for one in bad)}"[:2000])
        found = named(found, {})
        videos = {video.video_id: (video.subset, tuple(sorted(video.labels))) for video in found.videos}
        told = [f"line {one.line}: {one.reason}" for one in bad]
        told += [f"{quirk.what}: {quirk.done}: {'; '.join(quirk.items)}" for quirk in found.quirks]
        return Read((tuple(sorted(found.classes)), videos, len(bad)), tuple(told))

    def plain(self, folder: Path) -> Any:
        """See `Format`."""
        return _plain(folder / FILE)


def _spelled(rng: random.Random, rows: list[Row]) -> Input:
    """Separators, quotes, encodings, line ends, header, names without suffix or with a folder, columns besides."""
    same = (*value_of(rows), 0)
    how = rng.choice(list(_HEADERS))
    header = _HEADERS[how]
    rows = [(_called(name, rng), label, _short(subset, rng)) for name, label, subset in rows]
    separator = rng.choice((",", ";", "\t"))
    quote: Literal[0, 1] = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    text = table_of(rows, header, separator, quote)
    if rng.random() < 0.2:
        text = "".join(f"{line}{separator * 2}\n" for line in text.splitlines())
    if rng.random() < 0.2:
        text = f"sep={separator}\n{text}"
    encoding, ends = rng.choice(list(ENCODINGS)), rng.choice(list(LINE_ENDS))
    data = ENCODINGS[encoding](LINE_ENDS[ends](text))
    return Input(f"header {how}, separator {separator!r}, {encoding}, {ends}", _files(data), same=same)


def _called(name: str, rng: random.Random) -> str:
    """Another way to write the same file."""
    ways = (name, str(Path(name).with_suffix("")), f"C:\\videos\\{Path(name).name}", f"/data/{Path(name).name}")
    return rng.choice((*ways, unicodedata.normalize("NFD", name), f" {name} "))


def _short(subset: str, rng: random.Random) -> str:
    short = {"training": "train", "validation": "val", "testing": "test"}[subset]
    return rng.choice((subset, short, subset.upper(), short.title()))


def _names(rng: random.Random, rows: list[Row]) -> Input:
    """Labels that differ by little, or stand together in one cell."""
    index = rng.randrange(len(rows))
    name, _, subset = rows[index]
    header = _HEADERS["video,label,subset"]
    how = rng.choice(("spelling", "look-alike", "case", "several", "comma", "number"))
    match how:
        case "spelling":
            way = rng.choice(list(SPELLINGS))
            spelled = SPELLINGS[way]("Café crème")
            mutated = [*rows, (name, spelled, subset), (name, "Café crème", subset)]
            same = (*value_of([*rows, (name, "Café crème", subset)]), 0)
            told = () if spelled.strip() == "Café crème" else (ascii(spelled.strip()),)
            return Input(f"label with {way}", _files(table_of(mutated, header).encode()), same=same, told=told)
        case "several":
            mutated = [*rows, (name, "Dive|High Kick ; 跳水", subset)]
            added = [(name, one, subset) for one in ("Dive", "High Kick", "跳水")]
            same = (*value_of([*rows, *added]), 0)
            return Input(
                "several labels", _files(table_of(mutated, header).encode()), same=same, told=("several labels",)
            )
        case "comma":
            both = [(name, "Dive", subset), (name, "High Kick", subset)]
            mutated = [*rows, *both, (name, "Dive, High Kick", subset)]
            same = (*value_of([*rows, *both]), 0)
            return Input(
                "labels with comma", _files(table_of(mutated, header).encode()), same=same, told=("several labels",)
            )
    new = {"look-alike": "Dive".translate(LOOK_ALIKE), "case": "dive", "number": "41"}[how]
    mutated = [*rows, (name, "Dive", subset), (name, new, subset)]
    told = {"look-alike": ("look alike",), "case": ("look alike",), "number": ("numbers",)}[how]
    return Input(how, _files(table_of(mutated, header).encode()), same=(*value_of(mutated), 0), told=told)


def _one_row(rng: random.Random, rows: list[Row]) -> Input:
    """One bad line: the others stay, and it is told."""
    index = rng.randrange(len(rows))
    name, label, subset = rows[index]
    others = [*rows[:index], *rows[index + 1 :]]
    header = _HEADERS["video,label,subset"]
    how = rng.choice(("unfit label", "unfit name", "stranger", "no label", "subset", "fields", "quote"))
    way = rng.choice([way for way in UNFIT if way in ("NUL", "control character", "escape")])
    row: tuple[str, ...] = {
        "unfit label": (name, UNFIT[way](label), subset),
        "unfit name": (UNFIT[way](name), label, subset),
        "stranger": (
            rng.choice(("nobody.mp4", "../x.mp4", "*.mp4", "/etc/x.mp4", "[", "a" * 300, "..", "/")),
            label,
            subset,
        ),
        "no label": (name, rng.choice(("", " ")), "training"),
        "subset": (name, label, rng.choice(("tranining", "0", "train-2"))),
        "fields": (name, label, subset, "more"),
        "quote": (name, label, subset),
    }[how]
    data = bytearray(table_of(others, header).encode() + table_of([row], None).encode())  # pyright: ignore[reportArgumentType]
    if how == "quote":
        data = bytearray(table_of(others, header).encode() + f'{name},"{label}"x,{subset}\n'.encode())
    elif rng.random() < 0.2:
        how = "bytes of another encoding"
        data = bytearray(table_of(others, header).encode() + f"{name},Caf\xe9,{subset}\n".encode("latin-1", "replace"))
    if how == "no label" and any(other == name for other, _, _ in others) and subset != "training":
        return Input("plain", _files(table_of(rows, header).encode()), same=(*value_of(rows), 0))
    return Input(
        f"last row: {how}", _files(bytes(data)), same=(*value_of(others), 1), told=(f"line {len(others) + 2}:",)
    )


def _plain(path: Path) -> tuple:
    """Row by row. A first row that names no column and no video is a bad one of a table without header."""
    rows = rows_of(path)
    if not rows:
        raise Unreadable("no row")
    columns = ["video", "label", "subset"]
    if not isinstance(rows[0], str):
        header = header_of(rows[0])
        names = list(map(_column, header))
        if _video(header[0]) is None and {"video", "label"} & set(names):
            if not {"video", "label"} <= set(names) or any(name and names.count(name) > 1 for name in names):
                raise Unreadable("no header")
            columns, rows = names, rows[1:]
        elif len(header) not in (2, 3):
            raise Unreadable("no header, and no columns")
        else:
            columns = columns[: len(header)]
    videos: dict[str, tuple[str, list[str]]] = {}
    bad = 0
    for row in rows:
        taken = None if isinstance(row, str) else _row([cell.strip() for cell in row], columns, videos)
        if taken is None:
            bad += 1
            continue
        name, label, subset = taken
        own = videos.setdefault(name, (subset, []))[1]
        own += [label] if label else []
    if not videos:
        raise Unreadable("no video")
    return _named(videos, bad)


def _column(cell: str) -> str:
    name = "".join(filter(str.isalnum, tidy(cell).casefold()))
    known = {"filename": "video", "actionclass": "label", "split": "subset"}
    return known.get(name, name if name in ("video", "label", "subset") else "")


def _video(name: str) -> str | None:
    """The stem of the video of this name."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/")
    for video in _VIDEOS:
        path = Path(video)
        if name in (video, path.name, str(path.with_suffix("")), path.stem):
            return path.stem
        if name.rpartition("/")[2] in (path.name, path.stem):
            return path.stem
    return None


def _row(row: list[str], columns: list[str], videos: dict[str, tuple[str, list[str]]]) -> Row | None:
    if not fits(row, len(columns)):
        return None
    cells = dict(zip(columns, row, strict=False))
    name = _video(cells["video"])
    subset = (cells.get("subset") or "training").casefold()
    subset = {"train": "training", "val": "validation", "test": "testing"}.get(subset, subset)
    if any(
        unicodedata.category(sign) in ("Cc", "Cs") and not sign.isspace()
        for cell in row[: len(columns)]
        for sign in cell
    ):
        return None
    if name is None or subset not in _SUBSETS or (not cells["label"] and subset == "training"):
        return None
    if name in videos and videos[name][0] != subset:
        return None
    return name, cells["label"], subset


def _named(videos: dict[str, tuple[str, list[str]]], bad: int) -> tuple:
    """Labels taken apart at | and ; always, at other signs where each piece is a label of its own."""
    pieces = {
        tidy(piece) for _, own in videos.values() for label in own for piece in label.replace(";", "|").split("|")
    }
    alone = {piece for piece in pieces if piece and not any(sign in piece for sign in ",/+&")}
    spelled = {}
    for name, (subset, own) in videos.items():
        labels: set[str] = set()
        for piece in (tidy(piece) for label in own for piece in label.replace(";", "|").split("|")):
            parts = [
                one for one in map(tidy, piece.replace("/", ",").replace("+", ",").replace("&", ",").split(",")) if one
            ]
            labels |= set(parts) if len(parts) > 1 and alone.issuperset(parts) else {piece} - {""}
        spelled[name] = (subset, tuple(sorted(labels)))
    return tuple(sorted({label for _, own in spelled.values() for label in own})), spelled, bad


FORMAT = Labels()
