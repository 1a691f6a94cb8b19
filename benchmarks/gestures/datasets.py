"""Writes the gestures as datasets of this project: a training and a test folder, or folds of the training folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.gestures import class_texts
from benchmarks.gestures.recordings import FPS, Recording
from benchmarks.gestures.streams import Encoder, GridChoice, SnippetEncoder
from cache.annotations import Dataset, Segment, VideoEntry
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.files.atomic import atomic_path
from pipelines.caches.import_descriptions import ImportRun
from pipelines.caches.import_descriptions import main as import_descriptions
from priors.words.glove import GloveRecipe

WORDS = Path(__file__).with_name("words.txt")
"""The words of the class texts in GloVe 6B (50-d; Pennington et al. 2014), which is in the public domain (PDDL)."""


def folds_of(
    recordings: Sequence[Recording], *, count: int, seed: int
) -> list[tuple[list[Recording], list[Recording]]]:
    """Pairs of training and test recordings; every recording is tested once. Drawn by the seed alone."""
    if count < 2 or count > len(recordings):
        raise CacheError(f"folds: found {count}, expected 2 to {len(recordings)}, the number of recordings")
    order = np.random.default_rng(seed).permutation(len(recordings))
    folds = []
    for part in np.array_split(order, count):
        held_out = set(part.tolist())
        training = [one for place, one in enumerate(recordings) if place not in held_out]
        folds.append((training, [one for place, one in enumerate(recordings) if place in held_out]))
    return folds


def write_dataset(
    folder: Path,
    training: Sequence[Recording],
    testing: Sequence[Recording],
    *,
    choice: GridChoice,
    pretrained: Callable[[], Mapping[str, SnippetEncoder]] | None = None,
) -> None:
    """Write annotations, features of both streams, and descriptions with their word vectors.

    What is fitted is fitted on the training recordings. Nothing is repeated for a folder that is complete, whose
    pre-trained encoders are not asked for either.
    """
    done = folder / "done.json"
    contents = {"training": [one.name for one in training], "testing": [one.name for one in testing]}
    stamp = {**contents, "grid": choice.grid.model_dump(), "pretrained": pretrained is not None}
    if done.exists() and json.loads(done.read_text("utf-8")) == stamp:
        return
    videos = [*_entries(training, "training"), *_entries(testing, "testing")]
    classes = tuple(sorted({label for video in videos for label in video.labels}))
    if unseen := sorted(set(classes) - {label for video in _entries(training, "") for label in video.labels}):
        raise CacheError(
            f"{folder.name}: classes {', '.join(unseen)} are in test recordings alone; expected them in both"
        )
    dataset = Dataset(folder.name, classes, tuple(videos))
    texts = list(class_texts.rows(dataset))
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save(folder / "annotations.json")
    encoder = Encoder.fit([one.frames for one in training], choice, None if pretrained is None else pretrained())
    store = FeatureStore.create(folder / "features", choice.grid)
    for recording in (*training, *testing):
        store.save(recording.name, encoder(recording.frames))
    _import_texts(folder, texts)
    with atomic_path(done) as unfinished:
        unfinished.write_text(json.dumps(stamp), encoding="utf-8")


def _entries(recordings: Iterable[Recording], subset: str) -> list[VideoEntry]:
    entries = []
    for one in recordings:
        segments = tuple(Segment(gesture.label, *gesture.seconds) for gesture in one.gestures)
        labels = tuple(sorted({segment.label for segment in segments}))
        entries.append(VideoEntry(one.name, subset, len(one.frames) / FPS, labels, segments, None))
    return entries


def _import_texts(folder: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Import the hand-written descriptions with their word vectors."""
    file = folder / "descriptions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    import_descriptions(
        ImportRun(dataset=folder, file=file, model_id=class_texts.WRITTEN_BY, glove=GloveRecipe(path=WORDS))
    )
