"""Recognises the layout of a folder, and finds annotations and features in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cache.annotations import read_joined
from cache.errors import CacheError
from cache.files.texts import plain
from cache.layouts.activitynet import is_activitynet
from cache.layouts.co2 import is_co2
from cache.layouts.found import Layout
from cache.layouts.tools.elan import is_elan
from cache.layouts.tools.label_studio import is_label_studio
from cache.layouts.tools.via import is_via
from cache.layouts.um import GT_FILE, is_um
from cache.video_files import may_be_video

TABLES, WORKBOOKS = (".csv", ".tsv"), (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_SIGNS = {
    "co2": "<NAME>-Annotations/ with classlist.npy, videoname.npy, subset.npy ... beside <NAME>-I3D-JOINTFeatures.npy",
    "um": "gt.json, split_train.txt, split_test.txt beside features/{train,test}/{rgb,flow}/<video>.npy",
    "activitynet": "a JSON with a `database` beside features/<video>.npy or features/{rgb,flow}/<video>.npy",
    "folder": "video files and a table (.csv, .tsv) with the columns video,label",
    "via": "video files and a project of VIA 3 (.json), or its CSV",
    "elan": "video files and .eaf files of ELAN, or a tab-delimited text (.txt) that it exported",
    "label-studio": "video files and a JSON, JSON-MIN or CSV export of Label Studio",
}


@dataclass(frozen=True)
class Place:
    """Paths of a dataset."""

    layout: Layout
    annotations: Path
    """Folder of .npy files (co2), folder with gt.json (um), JSON (activitynet), table (folder), a tool's file; for
    several .eaf files their folder."""
    features: Path | None
    """Joint file or folder; None if there is none, or several are possible."""
    videos: Path | None = None
    """Folder of the videos, for layout `folder` and those of tools."""


def recognise(source: Path, *, layout: Literal["auto"] | Layout = "auto", annotations: Path | None = None) -> Place:
    """The layout of `source`. `annotations` chooses one if there are several.

    Raises CacheError if no layout fits, listing what each expects and what was found, or if several do, listing them.
    """
    for path in filter(None, (source, annotations)):
        if not path.exists():
            raise CacheError(f"{path}: no such file or folder; --source is the folder of a download or of videos")
    inside = source if source.is_dir() else source.parent
    chosen = annotations or (source if source.is_file() else None)
    kinds = get_args(Layout) if layout == "auto" else (layout,)
    places = [place for kind in kinds for place in _places(kind, inside, chosen)]
    if len(places) == 1:
        return places[0]
    if places:
        found = "\n".join(f"  --layout {place.layout} --annotations {place.annotations}" for place in places)
        raise CacheError(f"{source}: could be read in several ways; choose one:\n{found}")
    for file in [chosen] if chosen else sorted(inside.iterdir()):
        if file.suffix.lower() in WORKBOOKS:
            what = "is a workbook; save its sheet as CSV (UTF-8), with the columns video,label[,subset]"
            raise CacheError(f"{file}: {what}")
        if file.suffix.lower() == ".json":
            read_joined(file)  # says what is wrong with it, if anything is
    signs = "\n".join(f"  {kind}: {_SIGNS[kind]}" for kind in kinds)
    names = sorted(plain(path.name) + ("/" if path.is_dir() else "") for path in inside.iterdir())
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") or "nothing"
    wanted = chosen or source
    raise CacheError(f"{wanted}: is in no known layout. Expected one of\n{signs}\nfound in {inside}: {shown}")


def _places(kind: Layout, inside: Path, chosen: Path | None) -> Iterator[Place]:
    match kind:
        case "co2":
            for folder in [chosen] if chosen else [inside, *_folders(inside)]:
                if is_co2(folder):
                    yield Place(kind, folder, _joint(folder, inside))
        case "um":
            folder = inside if chosen is None else chosen if chosen.is_dir() else chosen.parent
            if is_um(folder) and (chosen is None or chosen.is_dir() or chosen.name == GT_FILE):
                yield Place(kind, folder, _folder_of_features(folder, inside))
        case "activitynet":
            for file in [chosen] if chosen else sorted(inside.glob("*.json")):
                if file.suffix == ".json" and not is_um(file.parent) and is_activitynet(file):
                    yield Place(kind, file, _folder_of_features(inside))
        case "folder":
            tables = [chosen] if chosen else sorted(inside.iterdir())
            if any(map(may_be_video, inside.rglob("*"))):
                for file in tables:
                    if file.suffix.lower() in (*TABLES, *((".txt",) if chosen else ())) and not _is_of_tool(file):
                        yield Place(kind, file, None, videos=inside)
        case "elan":
            documents = sorted(inside.rglob("*.eaf")) if chosen is None else []
            if documents:
                yield Place(kind, documents[0] if len(documents) == 1 else inside, None, videos=inside)
            for file in [chosen] if chosen else sorted(inside.glob("*.txt")):
                if file.is_file() and is_elan(file):
                    yield Place(kind, file, None, videos=inside)
        case "via" | "label-studio":
            is_its = is_via if kind == "via" else is_label_studio
            for file in [chosen] if chosen else sorted(inside.iterdir()):
                if file.is_file() and file.suffix.lower() in (".json", *TABLES) and is_its(file):
                    yield Place(kind, file, None, videos=inside)


def _is_of_tool(file: Path) -> bool:
    return is_via(file) or is_label_studio(file) or is_elan(file)


def _folders(inside: Path) -> list[Path]:
    return sorted(path for path in inside.iterdir() if path.is_dir())


def _joint(annotations: Path, inside: Path) -> Path | None:
    """The feature file: the one with the name of the annotations, else the only one there is."""
    folders = dict.fromkeys((annotations.parent, inside, annotations))
    files = [path for folder in folders for path in sorted(folder.glob("*[Ff]eatures*.npy"))]
    name = annotations.name.removesuffix("-Annotations") + "-"
    candidates = [path for path in files if path.name.startswith(name)] or files
    return candidates[0] if len(candidates) == 1 else None


def _folder_of_features(*folders: Path) -> Path | None:
    for folder in dict.fromkeys(folders):
        if (folder / "features").is_dir():
            return folder / "features"
        if any((folder / stream).is_dir() for stream in ("rgb", "flow")) or next(folder.glob("*.npy"), None):
            return folder
    return None
