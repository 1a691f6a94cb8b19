"""Batches of snippet features, weak labels and texts. Padding and masks are made here and nowhere else.

Axes: b videos, t snippets, d feature width, c action classes, p pairs, n words.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache, partial
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from cache.annotations import Dataset
from cache.content import features_content
from cache.features import FeatureStore
from cache.recipe import Recipe
from cache.tables.embeddings import PriorTexts
from training.batches.sampling import copy_rows, stratified
from training.batches.scales import column_factors, stream_scales
from training.batches.texts import DEFAULT_CHOICE, TextBank, TextChoice, build_text_bank, draw_masked
from training.errors import TrainingError

_OPEN_FILES = 256
"""Feature files that stay memory-mapped. Each takes a file descriptor, and a process is often limited to 1,024."""


class DataRecipe(Recipe):
    """Training videos, sampling and batches."""

    subset: str = "training"
    """Subset of the annotations to train on."""
    streams: tuple[str, ...] | None = None
    """Streams of the features that are read, in this order, such as rgb flow: of the folder's features.json and those
    of its sub-folders. When not given, all of the folder's own, in their order."""
    num_snippets: PositiveInt | None = 320
    """Maximum sequence length; longer videos are subsampled, one random snippet from each of num_snippets equal bins.
    None: every video at full length."""
    stretch: bool = False
    """Repeat the snippets of shorter videos up to num_snippets, as the CO2-Net family does, instead of padding them."""
    num_pairs: NonNegativeInt = 3
    """Pairs of videos that share a class, in each batch (3 in the CO2-Net family)."""
    singles: NonNegativeInt = 4
    """Further videos in each batch (4 in the CO2-Net family)."""
    max_words: PositiveInt = 80
    """Longer texts are truncated to this many words."""
    feature_rms: PositiveFloat | None = None
    """Streams are scaled so that the root mean square of their features over the training videos is this. Weights
    start, and learning rates are chosen, for features as small as those of I3D. None: features as they are."""

    @model_validator(mode="after")
    def _batches_can_be_drawn(self) -> "DataRecipe":
        if self.num_pairs + self.singles == 0:
            raise ValueError("singles: found 0 beside 0 num_pairs, expected at least one video in each batch")
        if self.streams is not None and (not self.streams or len(set(self.streams)) < len(self.streams)):
            raise ValueError(f"streams: found {list(self.streams)}, expected at least one name, and each once")
        if self.stretch and self.num_snippets is None:
            raise ValueError("stretch: found True without num_snippets, expected the length to stretch videos to")
        return self

    @property
    def batch_size(self) -> int:
        """Videos in each batch."""
        return 2 * self.num_pairs + self.singles


@dataclass(frozen=True)
class _Movable:
    """Dataclass of tensors that moves between devices as one."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The same on another device; `non_blocking` does not wait for copies out of pinned memory."""
        return self._each(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The same in pinned memory, from which CUDA copies asynchronously."""
        return self._each(lambda value: value.pin_memory())

    def _each(self, change: Callable[[Any], Any]) -> Self:
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                moved[field.name] = change(value)
            elif isinstance(value, _Movable):
                moved[field.name] = value._each(change)
        return replace(self, **moved)


@dataclass(frozen=True)
class Targets(_Movable):
    """Weak labels and masks of a batch: all that the losses of a host may use."""

    labels: Float[Tensor, "b c"]
    """Multi-hot weak labels."""
    mask: Bool[Tensor, "b t"]
    """Valid mask: True at real snippets, which come first."""
    pairs: Int[Tensor, "p 2"]
    """Pairs of rows of the batch that share at least one class; p may be 0."""
    notes: Float[Tensor, "b t n"] | None = None
    """Notes of the host's last review on these snippets, n numbers each, 0 at padding; None without a review."""
    most_labels: int | None = None
    """Largest number of labels of a video, if it is known without waiting for a device."""


@dataclass(frozen=True)
class Texts(_Movable):
    """Padded texts as vocabulary ids."""

    ids: Int[Tensor, "r n"]
    mask: Bool[Tensor, "r n"]
    """True at words; a row may have none."""


@dataclass(frozen=True)
class Sentences(_Movable):
    """One text per video, whose masked words are to be predicted."""

    ids: Int[Tensor, "b n"]
    mask: Bool[Tensor, "b n"]
    masked: Bool[Tensor, "b n"]
    """True at masked words, which the reconstruction must not see."""


@dataclass(frozen=True)
class Batch(_Movable):
    """The videos and texts of one training step."""

    video_ids: tuple[str, ...]
    features: Float[Tensor, "b t d"]
    """Zero at padding."""
    targets: Targets
    scale: Float[Tensor, " b"]
    """Snippets in the batch per snippet of the video: 1 unless the video is resampled. Converts positions in a video to
    positions in the batch."""
    snippets: Int[Tensor, "b t"]
    """Index of each snippet in its video; 0 at padding."""
    key_texts: Texts | None = None
    """One text per class."""
    sentences: Sentences | None = None


@dataclass(frozen=True)
class QueryPool(_Movable):
    """Every distinct key text of the training videos, for the class queries of inference."""

    texts: Texts
    classes: Int[Tensor, " r"]
    weights: Float[Tensor, " r"]
    """Share of each text in its class's pool; sums to 1 over a class."""


class WtalData:
    """The training videos of a dataset: weak labels, features and texts.

    `batch(step)` depends on the recipe, the seed and the step alone: every draw has its own generator, seeded by (seed,
    step, purpose). So a resumed run needs no stored random state, and runs that differ in their texts see the same
    videos. Ground-truth segments are never used. `choice` says which of `texts` are read (`ModelRecipe.text_choice`).
    Raises `TrainingError` if a class has no video or lacks texts.
    """

    def __init__(
        self,
        dataset: Dataset,
        store: FeatureStore,
        texts: PriorTexts | None,
        *,
        recipe: DataRecipe,
        seed: int,
        choice: TextChoice = DEFAULT_CHOICE,
    ) -> None:
        self.recipe, self.seed, self.choice, self.store = recipe, seed, choice, store
        self.classes = dataset.classes
        videos = dataset.labelled(recipe.subset)
        self.video_ids = tuple(video.video_id for video in videos)
        self.labels = np.zeros((len(videos), len(self.classes)), np.float32)
        for row, video in enumerate(videos):
            self.labels[row, [dataset.class_index(label) for label in video.labels]] = 1
        without = [label for label, count in zip(self.classes, self.labels.sum(0), strict=True) if not count]
        if without:
            raise TrainingError(
                f"annotations of {dataset.name}, subset {recipe.subset}: found no video of {', '.join(without)}, "
                "expected at least one for each class; remove the class, or choose another subset (--data.subset)"
            )
        text_bank = partial(build_text_bank, videos, self.classes, choice=choice, max_words=recipe.max_words)
        self.texts: TextBank | None = None if texts is None else text_bank(texts)
        members = (np.flatnonzero(of_class) for of_class in self.labels.T)
        self._pairable = [rows for rows in members if len(rows) > 1]
        self._features = lru_cache(maxsize=_OPEN_FILES)(lambda row: store.parts(self.video_ids[row]))

    def __len__(self) -> int:
        return len(self.video_ids)

    def batch(self, step: int) -> Batch:
        """The batch of `step`: pairs first, then singles; where no class has two videos, singles alone."""
        rng = self._rng(step, "videos")
        rows, pairs = self._draw_videos(rng)
        videos = self._videos(rows, pairs, self._rng(step, "snippets"))
        if self.texts is None:
            return videos
        key_texts = self._draw_key_texts(self.texts, self._rng(step, "key"))
        sentences = self._draw_sentences(self.texts, rows, self._rng(step, "complete"))
        return replace(videos, key_texts=key_texts, sentences=sentences)

    def whole(self, snippets: int) -> Iterator[Batch]:
        """Every video once and at full length, the shortest first; no pairs, no texts.

        A batch holds as many videos as fit into `snippets` snippets, padding included; a longer video has its own
        batch.
        """
        lengths = np.array(self.lengths())
        rows: list[int] = []
        for row in np.argsort(lengths, kind="stable").tolist():
            if rows and (len(rows) + 1) * lengths[row] > snippets:
                yield self._videos(np.array(rows), np.zeros((0, 2), np.int64), None)
                rows = []
            rows.append(row)
        yield self._videos(np.array(rows), np.zeros((0, 2), np.int64), None)

    def lengths(self) -> list[int]:
        """Snippets of every video."""
        return list(self._lengths)

    def fingerprint(self) -> str:
        """Hash (12 hex digits) of the videos, their labels, their features, the feature grid and the texts.

        Features are read at the first call only.
        """
        grid = self.store.grid.model_dump()
        digest = hashlib.sha256(repr((self.classes, self.video_ids, grid, self._features_content)).encode())
        digest.update(self.labels.tobytes())
        if self.texts is not None:
            digest.update(repr(self.texts.vocabulary.words).encode())
            for array in (self.texts.vocabulary.vectors, self.texts.ids, self.texts.weights):
                digest.update(array.tobytes())
        return digest.hexdigest()[:12]

    def query_pool(self) -> QueryPool:
        """Every distinct key text of each class with its share in the pool. Raises `TrainingError` without texts."""
        if self.texts is None:
            raise TrainingError("texts: found none, expected the embeddings of the priors; run `make priors`")
        bank, chosen, classes, weights = self.texts, [], [], []
        for index, rows in enumerate(bank.key_rows):
            _, first, counts = np.unique(bank.ids[rows], axis=0, return_index=True, return_counts=True)
            chosen += rows[first].tolist()
            classes += [index] * len(first)
            weights += (counts / len(rows)).tolist()
        return QueryPool(_texts(bank, np.array(chosen)), torch.tensor(classes), torch.tensor(weights))

    def _rng(self, step: int, purpose: str) -> np.random.Generator:
        purposes = ("videos", "snippets", "key", "complete")
        return np.random.default_rng((self.seed, step, purposes.index(purpose)))

    def _draw_videos(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        count = self.recipe.num_pairs if self._pairable else 0
        chosen = rng.integers(len(self._pairable), size=count) if count else []
        paired = [rng.choice(self._pairable[c], size=2, replace=False) for c in chosen]
        singles = self.recipe.batch_size - 2 * count
        rest = rng.choice(len(self), size=singles, replace=singles > len(self))
        rows = np.concatenate([*paired, rest]).astype(np.int64)
        return rows, np.arange(2 * count, dtype=np.int64).reshape(count, 2)

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """Factor of each stream, for which all features are read; empty without `DataRecipe.feature_rms`."""
        return stream_scales(self.store, self.video_ids, rms=self.recipe.feature_rms)

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return tuple(self.store.lengths(self.video_ids))

    @cached_property
    def _features_content(self) -> str:
        return features_content(self.store, self.video_ids)

    def _videos(self, rows: np.ndarray, pairs: np.ndarray, rng: np.random.Generator | None) -> Batch:
        """Pad videos into a batch. With `rng`, those longer (with `stretch`, also shorter) than num_snippets are
        resampled first."""
        wanted, videos = self.recipe.num_snippets or sys.maxsize, [self._features(int(row)) for row in rows]
        places = []
        for length in (len(parts[0]) for parts in videos):
            if rng is not None and (length > wanted or (self.recipe.stretch and length < wanted)):
                places.append(stratified(length, wanted, rng))
            else:
                places.append(np.arange(length))
        lengths = np.array([len(place) for place in places])
        padded = np.empty((len(rows), lengths.max(), self.store.grid.width), np.float32)
        snippets = np.zeros(padded.shape[:2], np.int64)
        factors = column_factors(self.scales, self.store.grid)
        for row, (parts, place) in enumerate(zip(videos, places, strict=True)):
            copy_rows(parts, place, padded[row, : len(place)], factors=factors)
            padded[row, len(place) :] = 0
            snippets[row, : len(place)] = place
        mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None])
        scales = [len(place) / len(parts[0]) for place, parts in zip(places, videos, strict=True)]
        labels = self.labels[rows]
        return Batch(
            tuple(self.video_ids[row] for row in rows),
            torch.from_numpy(padded),
            Targets(torch.from_numpy(labels), mask, torch.from_numpy(pairs), most_labels=int(labels.sum(1).max())),
            torch.tensor(scales, dtype=torch.float32),
            torch.from_numpy(snippets),
        )

    def _draw_key_texts(self, bank: TextBank, rng: np.random.Generator) -> Texts:
        places = (rng.random(len(bank.key_rows)) * [len(rows) for rows in bank.key_rows]).astype(np.int64)
        return _texts(bank, np.array([rows[place] for rows, place in zip(bank.key_rows, places, strict=True)]))

    def _draw_sentences(self, bank: TextBank, rows: np.ndarray, rng: np.random.Generator) -> Sentences:
        pools = [bank.complete_rows[self.video_ids[row]] for row in rows]
        draws = rng.random(len(rows))
        # row 0 of the bank is the empty text of a video that has none
        chosen = np.array([pool[int(u * len(pool))] if len(pool) else 0 for pool, u in zip(pools, draws, strict=True)])
        texts = _texts(bank, chosen)
        weights = bank.weights[chosen][:, : texts.ids.shape[1]]
        masked = draw_masked(weights, bank.lengths[chosen], rng)
        return Sentences(texts.ids, texts.mask, torch.from_numpy(masked))


def _texts(bank: TextBank, rows: np.ndarray) -> Texts:
    """The texts of these rows, trimmed to the longest of them (at least one word wide)."""
    lengths = bank.lengths[rows]
    longest = max(1, int(lengths.max()))
    mask = np.arange(longest) < lengths[:, None]
    return Texts(torch.from_numpy(bank.ids[rows, :longest]), torch.from_numpy(mask))
