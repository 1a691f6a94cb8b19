"""Datasets in ActivityNet's JSON layout: videos with their subsets, classes and ground-truth segments."""

from __future__ import annotations

import difflib
import json
import logging
import os
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cache.errors import CacheError
from cache.files.atomic import atomic_path
from cache.files.json_text import Joined, finite_number, joined_lists, read_json
from cache.files.texts import can_name_a_file, shown, tidy, unfit
from cache.video_files import may_be_video

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Segment:
    """A ground-truth instance of an action: label, and start and end in seconds."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class VideoEntry:
    """One video. `labels` are its distinct classes in the dataset's order; `segments` may be empty (weak labels)."""

    video_id: str
    subset: str
    duration: float | None
    """In seconds; None if the annotations do not have it."""
    labels: tuple[str, ...]
    segments: tuple[Segment, ...]
    path: Path | None
    """The video file; None if neither the annotations nor the videos folder has one."""
    ambiguous: tuple[tuple[float, float], ...] = ()
    """Ambiguous segments [start, end] in seconds, which annotators left undecided; some protocols drop detections
    there."""

    @property
    def file_bytes(self) -> int | None:
        """Size of the video file; None if it does not exist or is not accessible."""
        try:
            return None if self.path is None else self.path.stat().st_size
        except (OSError, ValueError):  # no such file, no right to enter its folder, a name no file can have ...
            return None


@dataclass(frozen=True)
class Dataset:
    """All videos of an annotation file; class indices follow the order of `classes`."""

    name: str
    classes: tuple[str, ...]
    videos: tuple[VideoEntry, ...]

    @classmethod
    def load(cls, path: Path, *, videos: Path | None = None) -> Dataset:
        """Read `database[video_id] = {subset, duration?, path?, annotations: [{label, segment?: [start, end]}],
        ambiguous?: [[start, end]]}`.

        A video's file is `<video_id>.<ext>` or `v_<video_id>.<ext>` in `videos`, else its entry's `path` (relative to
        the JSON), else a file so named in the folder `videos` beside the JSON. Classes are the file's `classes` if it
        has that field, else the sorted labels. Raises CacheError naming the file, the field, what was found and
        expected, or if the folder `videos` does not exist.
        """
        return cls.parse(path, read_document(path), videos=videos)

    @classmethod
    def parse(cls, path: Path, document: Mapping, *, videos: Path | None = None) -> Dataset:
        """The same from the parsed JSON of `path`."""
        database = document.get("database")
        if not isinstance(database, Mapping):
            raise CacheError(f"{path}: database: found {type(database).__name__}, expected an object of videos")
        found = {label for entry in database.values() for label in _labels_of(entry)}
        classes, spelled = _classes(path, document, found)
        if videos is not None and not videos.is_dir():
            raise CacheError(f"videos: {videos}: no such folder")
        files = _video_files(videos or path.parent / "videos")
        entries = tuple(
            _entry(path, video_id, entry, (classes, spelled), files, prefer_files=videos is not None)
            for video_id, entry in database.items()
        )
        _refuse_one_name(path, database)
        name = document.get("name") or (path.parent.name if path.stem == "annotations" else path.stem)
        return cls(str(name), classes, entries)

    def save(self, path: Path) -> None:
        """Write ActivityNet JSON, atomically; `load` returns an equal dataset."""
        database = {}
        for video in self.videos:
            entry: dict[str, object] = {"subset": video.subset}
            if video.duration is not None:
                entry["duration"] = video.duration
            if video.path is not None:
                entry["path"] = os.path.relpath(video.path, path.parent)
            placed = {segment.label for segment in video.segments}
            entry["annotations"] = [
                *({"label": s.label, "segment": [s.start, s.end]} for s in video.segments),
                *({"label": label} for label in video.labels if label not in placed),
            ]
            if video.ambiguous:
                entry["ambiguous"] = [list(stretch) for stretch in video.ambiguous]
            database[video.video_id] = entry
        document = {"name": self.name, "classes": list(self.classes), "database": database}
        with atomic_path(path) as unfinished:
            unfinished.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def split(self, subset: str) -> list[VideoEntry]:
        """The videos of one subset, in file order. Raises CacheError, naming the existing subsets, if there is none."""
        chosen = [video for video in self.videos if video.subset == subset]
        if not chosen:
            subsets = sorted({video.subset for video in self.videos})
            raise CacheError(f"dataset {self.name}: no video has subset {subset!r}; its subsets are {subsets}")
        return chosen

    def labelled(self, subset: str) -> list[VideoEntry]:
        """The videos of one subset that have a label."""
        return [video for video in self.split(subset) if video.labels]

    def class_index(self, label: str) -> int:
        """Index of a class. Raises CacheError, naming the nearest class, if the dataset does not have it."""
        try:
            return self.classes.index(label)
        except ValueError:
            near = difflib.get_close_matches(label, self.classes, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise CacheError(f"dataset {self.name}: unknown class {label!r}{hint}") from None


def read_document(path: Path) -> dict:
    """The JSON object of an annotation file; a video that occurs twice is joined and reported. Raises CacheError."""
    document, joined = read_joined(path)
    for one in joined:
        _log.warning("%s: %s stands there more than once (%s): %s", path, one.field, "; ".join(one.places), one.done)
    return document


def read_joined(path: Path) -> tuple[dict, list[Joined]]:
    """The same, and the videos that occur more than once and were joined, as in files that were merged.

    Raises CacheError where the entries of a video contradict each other, or some have annotations in common.
    """
    try:
        document, joined = read_json(path, joins={"database": _together})
    except FileNotFoundError:
        raise CacheError(
            f"{path}: no such annotation file; `make import-dataset` makes one of a download, `make videos` the demo's"
        ) from None
    if not isinstance(document, dict):
        raise CacheError(f"{path}: found a {type(document).__name__}, expected an object with the field 'database'")
    return document, joined


def _together(first: object, second: object) -> object:
    """Two entries of one video as one: equal ones, or those that differ by annotations alone and share none."""
    if first == second:
        return first
    if not isinstance(first, dict) or not isinstance(second, dict):
        return None
    lists = [entry.get("annotations") for entry in (first, second)]
    rest = [{field: value for field, value in entry.items() if field != "annotations"} for entry in (first, second)]
    if rest[0] != rest[1] or not all(isinstance(items, list) for items in lists):
        return None
    together = joined_lists(*lists)  # pyright: ignore[reportArgumentType]
    return None if together is None else {**first, "annotations": together}


def _labels_of(entry: object) -> list[str]:
    annotations = entry.get("annotations") if isinstance(entry, Mapping) else None
    if not isinstance(annotations, list):
        return []
    labels = (item.get("label") for item in annotations if isinstance(item, Mapping))
    return [label for label in labels if isinstance(label, str)]


def _classes(path: Path, document: Mapping, found: set[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes, and for every label its class: the one that it is but for Unicode's form and white space."""
    declared = document.get("classes")
    if declared is not None:
        if not isinstance(declared, list) or not all(isinstance(name, str) and tidy(name) for name in declared):
            raise CacheError(f"{path}: classes: expected a list of class names")
        if len(set(declared)) != len(declared):
            raise CacheError(f"{path}: classes: found a class twice, expected each once")
    spelled = {label: label for label in declared or ()}
    tidied: dict[str, str] = {tidy(label): label for label in reversed(declared or ())}
    joined: dict[str, list[str]] = {}
    for label in sorted(found - spelled.keys(), key=lambda label: (tidy(label) != label, label)):
        spelled[label] = tidied.setdefault(tidy(label), label)
        if spelled[label] != label:
            joined.setdefault(spelled[label], []).append(label)
    if declared is not None and (missing := sorted(set(spelled.values()) - set(declared))):
        raise CacheError(f"{path}: classes: does not hold {missing[:5]}, which the annotations use")
    for label, others in joined.items():
        _log.warning("%s: %s is the same class as %s: joined", path, ", ".join(map(shown, others)), shown(label))
    for label in spelled:
        if (wrong := unfit(label)) is not None:
            raise CacheError(f"{path}: label: found {shown(label)}, {wrong}")
    return tuple(declared) if declared is not None else tuple(sorted(set(spelled.values()))), spelled


def _refuse_one_name(path: Path, video_ids: Collection[str]) -> None:
    """Raise CacheError for two ids that are one name but for Unicode's form and white space around them."""
    known: dict[str, str] = {}
    for video_id in video_ids:
        other = known.setdefault(unicodedata.normalize("NFC", video_id).strip(), video_id)
        if other != video_id:
            raise CacheError(
                f"{path}: database: {shown(other)} and {shown(video_id)} are one name in two spellings; keep one, or "
                "rename one"
            )


def _video_files(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    if folder.is_dir():
        for file in sorted(folder.iterdir()):
            if may_be_video(file):
                files.setdefault(unicodedata.normalize("NFC", file.stem), []).append(file)
    return files


def _entry(
    path: Path,
    video_id: str,
    entry: object,
    names: tuple[tuple[str, ...], Mapping[str, str]],
    files: Mapping[str, list[Path]],
    *,
    prefer_files: bool,
) -> VideoEntry:
    where = f"{path}: database.{video_id}"
    if (wrong := unfit(video_id)) is not None:
        raise CacheError(f"{path}: database: found the id {shown(video_id)}, {wrong}")
    classes, spelled = names
    # Files are named by the id (features, thumbnails), so it must be a plain file name.
    if not can_name_a_file(video_id):
        raise CacheError(f"{path}: database: found the id {shown(video_id)}, expected one usable as a file name")
    if not isinstance(entry, Mapping) or not isinstance(entry.get("subset"), str):
        raise CacheError(f"{where}.subset: expected the name of a subset, such as 'training'")
    duration = entry.get("duration")
    annotations = entry.get("annotations", [])
    if not isinstance(annotations, list):
        raise CacheError(f"{where}.annotations: found {type(annotations).__name__}, expected a list")
    labels: set[str] = set()
    segments = []
    for index, item in enumerate(annotations):
        if not isinstance(item, Mapping) or not isinstance(item.get("label"), str) or not tidy(item["label"]):
            raise CacheError(f"{where}.annotations[{index}].label: expected the name of an action class")
        label = spelled[item["label"]]
        labels.add(label)
        if item.get("segment") is not None:
            start, end = _stretch(f"{where}.annotations[{index}].segment", item["segment"])
            segments.append(Segment(label, start, end))
    ambiguous = entry.get("ambiguous", [])
    if not isinstance(ambiguous, list):
        raise CacheError(f"{where}.ambiguous: found {type(ambiguous).__name__}, expected a list")
    return VideoEntry(
        video_id,
        entry["subset"],
        None if duration is None else _seconds(f"{where}.duration", duration),
        tuple(name for name in classes if name in labels),
        tuple(segments),
        _path(where, path, video_id, entry.get("path"), files, prefer_files=prefer_files),
        tuple(_stretch(f"{where}.ambiguous[{index}]", value) for index, value in enumerate(ambiguous)),
    )


def _stretch(where: str, value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise CacheError(f"{where}: found {value!r}, expected [start, end] in seconds")
    start, end = (_seconds(where, item) for item in value)
    if start > end:  # equal is allowed, since ActivityNet has instances of length zero
        raise CacheError(f"{where}: found {value!r}, expected start before end")
    return start, end


def _seconds(where: str, value: object) -> float:
    number = finite_number(value)
    if number is None or number < 0:
        raise CacheError(f"{where}: found {value!r}, expected seconds")
    return number


def _path(
    where: str, json_path: Path, video_id: str, given: object, files: Mapping[str, list[Path]], *, prefer_files: bool
) -> Path | None:
    if given is not None and not isinstance(given, str):
        raise CacheError(f"{where}.path: found {given!r}, expected a path relative to the annotation file")
    stem = unicodedata.normalize("NFC", video_id)  # file systems have their own idea of Unicode's form
    candidates = [*files.get(stem, []), *files.get(f"v_{stem}", [])]
    candidates = [file for file in candidates if file.stem in (video_id, f"v_{video_id}")] or candidates
    if given is not None and not (prefer_files and candidates):
        return Path(os.path.normpath(json_path.parent / given))
    if len(candidates) > 1:
        names = ", ".join(file.name for file in candidates)
        raise CacheError(f"{where}: {names} in {candidates[0].parent} could all be this video; say which with 'path'")
    return candidates[0] if candidates else None
