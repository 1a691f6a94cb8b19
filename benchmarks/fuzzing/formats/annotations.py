"""annotations.json: ActivityNet's JSON, read by whatever trains or evaluates."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.mutations.json_values import Way, changed, doubled, renamed, replaced, spelled, written
from benchmarks.fuzzing.mutations.noise import another, noise
from benchmarks.fuzzing.mutations.texts import ENCODINGS, NO_FILE_NAMES, SPELLINGS, UNFIT, encoded
from benchmarks.fuzzing.plain.plain_datasets import dataset_of
from benchmarks.fuzzing.trials import Input, Read
from cache.annotations import Dataset

FILE = "annotations.json"
LABELS = ("Dive", "High Kick", "Café crème", "跳水", "Long Jump")
IDS = ("v_a1", "v_b2", "clip 3", "été", "体操_4", "x-5")


def draw_document(rng: random.Random, *, declared: bool = True) -> dict[str, Any]:
    """Some videos of two subsets, most with instances."""
    database: dict[str, Any] = {}
    for name in rng.sample(IDS, rng.randint(2, 5)):
        items = []
        for _ in range(rng.randint(0, 3)):
            start = rng.randrange(0, 80) / 4
            items.append({"label": rng.choice(LABELS), "segment": [start, start + rng.randrange(1, 20) / 4]})
        entry: dict[str, Any] = {"subset": rng.choice(("training", "testing")), "annotations": items}
        if rng.random() < 0.8:
            entry["duration"] = rng.randrange(100, 400) / 4
        if rng.random() < 0.2:
            entry["ambiguous"] = [[1.5, 2.5]]
        database[name] = entry
    document: dict[str, Any] = {"version": "1.3", "database": database}
    if declared and rng.random() < 0.5:
        document["classes"] = rng.sample(LABELS, len(LABELS))
    return document


def draw_annotations(rng: random.Random, document: dict[str, Any], file: str, same: Any) -> Input:
    """A mutation of a document; `same` is what it is read as."""
    kind = rng.choice(("spelled", "encoded", "changed", "changed", "changed", "names", "noise", "another"))
    match kind:
        case "spelled":
            done, text = spelled(document, rng)
            return Input(f"spelled: {done}", {file: text.encode()}, same=same)
        case "encoded":
            done, data = encoded(written(document, space=" "), rng)
            return Input(f"encoded: {done}", {file: data}, same=same)
        case "changed":
            done, way, mutated = changed(document, rng)
            data = ENCODINGS["plain"](written(mutated))
            return Input(f"{done} at {'.'.join(map(str, way))}", {file: data}, named=_of(way))
        case "names":
            return _names(rng, document, file)
        case _:
            done, data = (noise if kind == "noise" else another)(written(document, space=" ").encode(), rng)
            return Input(done, {file: data})


def _of(way: Way) -> tuple[str, ...]:
    """How the message may name what is at fault: the video, the field, or the place in the file."""
    places = ("line ", "nested", "label", "classes", "the id ")
    return (str(way[1]), ascii(way[1])[1:-1], *places) if len(way) > 1 and way[0] == "database" else ()


def _names(rng: random.Random, document: dict[str, Any], file: str) -> Input:
    """One id or label that cannot be used, or is another one in another spelling."""
    name = rng.choice(list(document["database"]))
    entry = document["database"][name]
    match rng.choice(("unfit id", "no file name", "unfit label", "spelling", "id twice", "joined")):
        case "unfit id":
            how = rng.choice(list(UNFIT))
            mutated = renamed(document, ("database", name), UNFIT[how](name))
            return Input(f"id with {how}", {file: _json(mutated)}, unusable=True, told=("line 1", "database"))
        case "no file name":
            bad = rng.choice(NO_FILE_NAMES)
            mutated = renamed(document, ("database", name), bad)
            return Input(f"id {bad[:10]!r}", {file: _json(mutated)}, unusable=True, told=("file name", "does not have"))
        case "unfit label":
            how = rng.choice([how for how in UNFIT if how != "next line"])  # which is white space to an import
            items = [{"label": UNFIT[how]("Dive")}, *entry["annotations"]]
            mutated = replaced(document, ("database", name, "annotations"), items)
            return Input(
                f"label with {how}", {file: _json(mutated)}, unusable=True, told=("label", "line 1", "classes: ")
            )
        case "spelling":
            how = rng.choice(list(SPELLINGS))
            items = [{"label": SPELLINGS[how]("Café crème")}, {"label": "Café crème"}]
            mutated = replaced(document, ("database", name, "annotations"), items)
            return Input(f"label with {how}", {file: _json(mutated)}, told=(ascii("Café crème"),))
        case "id twice":
            how = rng.choice(("NFD", "white space around"))
            mutated = doubled(document, ("database", SPELLINGS[how](name) + "\u0020"), entry)
            return Input(f"id twice, with {how}", {file: _json(mutated)}, unusable=True, told=(ascii(name),))
        case _:
            more = {**entry, "annotations": [{"label": "Dive", "segment": [90.25, 91.75]}]}
            mutated = doubled(document, ("database", name), more)
            return Input("a video twice", {file: _json(mutated)}, told=(ascii(name), name, "database"))


def _json(document: Any) -> bytes:
    return written(document, space=" ").encode()


def value_of(dataset: Dataset) -> tuple:
    """As the plain reader gives it."""
    videos = {
        video.video_id: (
            video.subset,
            video.duration,
            video.labels,
            tuple((one.label, one.start, one.end) for one in video.segments),
            video.ambiguous,
        )
        for video in dataset.videos
    }
    return dataset.classes, videos


def value_of_document(document: dict[str, Any]) -> tuple:
    """By construction."""
    used = {item["label"] for entry in document["database"].values() for item in entry["annotations"]}
    classes = tuple(document.get("classes") or sorted(used))
    videos = {}
    for name, entry in document["database"].items():
        own = {item["label"] for item in entry["annotations"]}
        videos[name] = (
            entry["subset"],
            entry.get("duration"),
            tuple(label for label in classes if label in own),
            tuple((item["label"], *item["segment"]) for item in entry["annotations"]),
            tuple(map(tuple, entry.get("ambiguous", []))),
        )
    return classes, videos


class Annotations:
    """See `Format`."""

    name = "annotations"
    share = 15

    def draw(self, rng: random.Random) -> Input:
        """See `Format`."""
        document = draw_document(rng)
        return draw_annotations(rng, document, FILE, value_of_document(document))

    def read(self, folder: Path) -> Read:
        """See `Format`."""
        return Read(value_of(Dataset.load(folder / FILE)))

    def plain(self, folder: Path) -> Any:
        """See `Format`."""
        return dataset_of(folder / FILE)


FORMAT = Annotations()
