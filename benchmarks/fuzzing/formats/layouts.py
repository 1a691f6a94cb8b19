"""Public layouts: ActivityNet's JSON as it is downloaded, gt.json with split files (UM), pickled arrays (CO2-Net)."""

from __future__ import annotations

import io
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzzing.formats.annotations import LABELS, draw_annotations, draw_document, value_of, value_of_document
from benchmarks.fuzzing.mutations.json_values import replaced, written
from benchmarks.fuzzing.mutations.noise import another, noise
from benchmarks.fuzzing.mutations.texts import ENCODINGS, LINE_ENDS, UNFIT
from benchmarks.fuzzing.plain.plain_arrays import array_of
from benchmarks.fuzzing.plain.plain_datasets import dataset_of
from benchmarks.fuzzing.plain.plain_json import text_of
from benchmarks.fuzzing.trials import Input, Read, Unreadable
from cache.annotations import Dataset
from cache.layouts.activitynet import read_activitynet
from cache.layouts.co2 import read_co2
from cache.layouts.found import Found
from cache.layouts.um import read_um

_SPLITS = {"train": "split_train.txt", "test": "split_test.txt"}
_COLUMNS = ("videoname", "subset", "duration", "labels_all", "labels", "segments")


def value_of_found(found: Found) -> tuple:
    """As the plain readers give it."""
    return value_of(Dataset(found.name, found.classes, found.videos))


class Layouts:
    """See `Format`."""

    name = "layouts"
    share = 12

    def draw(self, rng: random.Random) -> Input:
        """See `Format`."""
        return rng.choice((_activitynet, _um, _co2, _co2))(rng)

    def read(self, folder: Path) -> Read:
        """See `Format`."""
        if (folder / "anet.json").exists():
            found = read_activitynet(folder / "anet.json", features=None)
        elif (folder / "gt.json").exists():
            found = read_um(folder, features=None)
        else:
            found = read_co2(folder, features=None, allow_pickle=True)
        told = (f"{quirk.what}: {quirk.done}: {'; '.join(quirk.items)}" for quirk in found.quirks)
        return Read(value_of_found(found), tuple(told))

    def plain(self, folder: Path) -> Any:
        """See `Format`."""
        if (folder / "anet.json").exists():
            return dataset_of(folder / "anet.json", tidied=True)
        if (folder / "gt.json").exists():
            return _plain_um(folder)
        return _plain_co2(folder)


def _activitynet(rng: random.Random) -> Input:
    document = draw_document(rng, declared=False)
    if rng.random() < 0.1:
        name = rng.choice(list(document["database"]))
        items = [{"label": "Dive", "segment": ["9.5", 3.25]}, *document["database"][name]["annotations"]]
        mutated = replaced(document, ("database", name, "annotations"), items)
        return Input("a segment backwards", {"anet.json": written(mutated).encode()}, told=(name,))
    return draw_annotations(rng, document, "anet.json", value_of_document(document))


def _um(rng: random.Random) -> Input:
    document = draw_document(rng, declared=False)
    for entry in document["database"].values():
        entry.pop("duration", None)
        entry["subset"] = rng.choice(("train", "test"))
    names = list(document["database"])
    splits = {s: "".join(f"{n}\n" for n in names if document["database"][n]["subset"] == s) for s in _SPLITS}
    order = [name for split in _SPLITS for name in names if document["database"][name]["subset"] == split]
    classes, videos = value_of_document(document)
    same = classes, {name: videos[name] for name in order}
    files = {file: splits[split].encode() for split, file in _SPLITS.items()}
    if rng.random() < 0.4:
        given = draw_annotations(rng, document, "gt.json", same)
        return Input(given.mutation, {**given.files, **files}, given.same, given.unusable, given.told, given.named)
    files["gt.json"] = written(document).encode()
    split = rng.choice(list(_SPLITS))
    file, text = _SPLITS[split], splits[split]
    match rng.choice(("spelled", "stranger", "twice", "unfit", "left out", "noise")):
        case "spelled":
            encoding, ends = rng.choice(list(ENCODINGS)), rng.choice(list(LINE_ENDS))
            files[file] = ENCODINGS[encoding](LINE_ENDS[ends](text))
            return Input(f"{file}: {encoding}, {ends}", files, same=same)
        case "stranger":
            files[file] = (text + "nobody\n").encode()
            return Input(f"{file}: a video of nobody", files, unusable=True, told=("nobody",))
        case "twice":
            files[file] = (text + f"{order[0]}\n").encode()
            return Input(f"{file}: a video twice", files, unusable=True, told=(order[0], ascii(order[0])))
        case "unfit":
            how = rng.choice(("NUL", "control character", "escape"))
            files[file] = (text + UNFIT[how]("x") + "\n").encode()
            return Input(f"{file}: {how}", files, unusable=True, told=("line ",))
        case "left out":
            files[file] = "".join(text.splitlines(keepends=True)[1:]).encode()
            lost = text.splitlines()[:1]
            return Input(f"{file}: a video left out", files, told=tuple(lost))
        case _:
            done, files[file] = noise(text.encode(), rng)
            return Input(f"{file}: {done}", files)


def _plain_um(folder: Path) -> tuple:
    classes, videos = dataset_of(folder / "gt.json", tidied=True)
    chosen: dict[str, tuple] = {}
    for split, file in _SPLITS.items():
        for line in text_of((folder / file).read_bytes()).splitlines():
            name = line.strip()
            if name and (name in chosen or name not in videos):
                raise Unreadable(f"{name!a} twice, or of nobody")
            if name:
                chosen[name] = (split, *videos[name][1:])
    return classes, chosen


def _co2(rng: random.Random) -> Input:
    """Each column an array, some of them pickled."""
    count = rng.randint(2, 4)
    names = [f"video_{number:03d}" for number in range(count)]
    classes = [label.replace(" ", "") for label in LABELS]
    labels: list[list[Any]] = [[rng.choice(classes) for _ in range(rng.randint(1, 3))] for _ in names]
    segments = [[[start := rng.randrange(40) / 4, start + 1.5] for _ in own] for own in labels]
    columns: dict[str, Any] = {
        "classlist": np.array([name.encode() for name in classes]),
        "videoname": np.array([name.encode() for name in names]),
        "subset": np.array([rng.choice((b"validation", b"test")) for _ in names]),
        "duration": np.array([[20.0 + number] for number in range(count)]),
        "labels_all": [sorted(set(own)) for own in labels],
        "labels": labels,
        "segments": segments,
    }
    same = _co2_value(columns)
    files = {f"{name}.npy": _saved(column, rng) for name, column in columns.items()}
    name = rng.choice(list(columns))
    match rng.choice(("spelled", "value", "value", "length", "noise", "noise", "another")):
        case "spelled":
            return Input("co2", files, same=same)
        case "length":
            changed = list(columns[name])[:-1]
            files[f"{name}.npy"] = _saved(
                np.array(changed) if name in ("videoname", "subset", "duration") else changed, rng
            )
            return Input(f"{name}.npy is shorter", files)
        case "value":
            column = columns[name]
            if isinstance(column, np.ndarray):
                bad = rng.choice((b"\xff", b"", b"a/b", b"video_000", np.nan, -1, np.inf, True, 0))
                changed = (
                    np.array([bad, *column[1:]])
                    if column.ndim == 1
                    else column * bad
                    if not isinstance(bad, bytes)
                    else column
                )
            else:
                items = (
                    None,
                    "x",
                    [[1.0]],
                    [[2.0, 1.0]],
                    7,
                    [["1.5", 2]],
                    [[True, 2.0]],
                    [[float("nan"), 1.0]],
                    [["1_0", 20.0]],
                )
                changed = [rng.choice(items), *column[1:]]
            try:
                files[f"{name}.npy"] = _saved(changed, rng)
            except (ValueError, TypeError):
                return Input("co2", files, same=same)
            return Input(f"{name}.npy: another first value", files)
        case kind:
            data = files[f"{name}.npy"]
            done, files[f"{name}.npy"] = (noise if kind == "noise" else another)(data, rng)
            return Input(f"{name}.npy: {done}", files)


def _saved(column: Any, rng: random.Random) -> bytes:
    file = io.BytesIO()
    if isinstance(column, np.ndarray):
        np.save(file, column, allow_pickle=False)
        return file.getvalue()
    array = np.empty(len(column), object)
    for row, item in enumerate(column):
        array[row] = item
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    pickle.dump(array, file, protocol=rng.choice((2, 3, 4, 5)))
    return file.getvalue()


def _co2_value(columns: dict[str, Any]) -> tuple:
    """By construction, and of the plain reading of each column."""
    classes = [_name(value) for value in columns["classlist"]]
    names = [_name(value) for value in columns["videoname"]]
    if len({len(columns[name]) for name in _COLUMNS}) > 1 or len(set(classes)) < len(classes):
        raise Unreadable("columns of different lengths, or a class twice")
    if len(set(names)) < len(names) or any(
        not name or name[0] == "." or len(name) > 200 or set(name) & set("/\\\0") for name in names
    ):
        raise Unreadable("an id twice, or no name of a file")
    videos = {}
    for row, name in enumerate(names):
        duration = columns["duration"][row]
        duration = duration[0] if isinstance(duration, (list, np.ndarray)) and len(duration) == 1 else duration
        if (
            isinstance(duration, (bool, np.bool_))
            or not isinstance(duration, (int, float, np.number))
            or not 0 < duration < np.inf
        ):
            raise Unreadable("a duration that is none")
        own = _labels(columns["labels_all"][row], classes)
        found = columns["labels"][row], columns["segments"][row]
        if not all(isinstance(one, list) for one in found) or len(found[0]) != len(found[1]):
            raise Unreadable("segments without labels")
        _labels(found[0], classes)
        times = [(_name(label), *_stretch(one)) for label, one in zip(*found, strict=True)]
        segments = tuple(one for one in times if one[1] <= one[2])
        ordered = tuple(label for label in classes if label in own)
        videos[name] = (_name(columns["subset"][row]), float(duration), ordered, segments, ())
    return tuple(classes), videos


def _labels(value: Any, classes: list[str]) -> list[str]:
    own = list(map(_name, value)) if isinstance(value, (list, tuple)) else [_name(value)]
    if not set(own) <= set(classes):
        raise Unreadable("a label that is no class")
    return own


def _name(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise Unreadable("no UTF-8") from error
    if not isinstance(value, str):
        raise Unreadable(f"{value!a} is no name")
    return value.strip()


def _stretch(value: Any) -> tuple[float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise Unreadable("no stretch")
    try:
        start, end = (float("x" if isinstance(one, bool) or "_" in str(one) else one) for one in value)
    except (TypeError, ValueError) as error:
        raise Unreadable("a time that is no number") from error
    if not 0 <= start < np.inf or not abs(end) < np.inf:
        raise Unreadable("no times")
    return start, end


def _plain_co2(folder: Path) -> tuple:
    return _co2_value({name: array_of(folder / f"{name}.npy") for name in ("classlist", *_COLUMNS)})


FORMAT = Layouts()
