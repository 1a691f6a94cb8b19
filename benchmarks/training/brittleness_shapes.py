"""Made-up datasets of many shapes: how many classes a video has, how much of it is action, how many classes and videos.

A snippet's feature is a vector of what happens (a class, the approach that a family of classes shares, its
surroundings, or one of a few movements that no class is), the scene of the video, and noise. Training videos have
labels alone; of the test videos the segments are known. A snippet takes one second.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.annotations import Dataset, Segment, VideoEntry
from cache.features import FeatureGrid, FeatureStore

STREAMS = {"appearance": 16, "motion": 16}
GRID = FeatureGrid(streams=STREAMS, fps=1, snippet_frames=1, snippet_stride=1)
FAMILY = 4
"""Classes that share approach and surroundings."""
MOVEMENTS = 8
"""Kinds of movement that are no action."""
STRENGTH = 9.0
"""Length of the vectors; that of the noise is 1 in each direction."""
TESTED = 40
"""Test videos."""


@dataclass(frozen=True)
class Shape:
    """What a dataset looks like."""

    a_video: int
    """Classes in a video: 1, or on average so many, from half to one and a half times as many."""
    share: float
    """Share of a video that is action."""
    classes: int
    videos: int

    @property
    def name(self) -> str:
        """As options and tables have it: "3x15%-20c-40v"."""
        return f"{self.a_video}x{self.share:.0%}-{self.classes}c-{self.videos}v"

    @classmethod
    def parse(cls, name: str) -> Shape:
        """The shape of that name."""
        first, classes, videos = name.split("-")
        a_video, share = first.split("x")
        return cls(int(a_video), float(share.rstrip("%")) / 100, int(classes.rstrip("c")), int(videos.rstrip("v")))


class World:
    """The vectors that all videos of a shape are made of."""

    def __init__(self, shape: Shape, *, seed: int) -> None:
        self.shape, self.rng = shape, np.random.default_rng((seed, shape.a_video, shape.classes, shape.videos))
        families = -(-shape.classes // FAMILY)
        self.cores = self._vectors(shape.classes)
        self.approaches, self.surroundings = self._vectors(families), self._vectors(families)
        self.movements = self._vectors(MOVEMENTS)
        self.deck: list[int] = []

    def _vectors(self, count: int) -> np.ndarray:
        drawn = self.rng.normal(size=(count, GRID.width))
        return STRENGTH * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    def draw_classes(self) -> np.ndarray:
        """Classes of the next video; after the first few videos all have been drawn."""
        mean = self.shape.a_video
        count = int(self.rng.integers(mean - mean // 2, mean + mean // 2 + 1))
        if len(self.deck) < count:
            drawn = self.rng.permutation(self.shape.classes).tolist()
            self.deck += [label for label in drawn if label not in self.deck]
        chosen, self.deck = self.deck[:count], self.deck[count:]
        return np.array(chosen)

    def draw_video(self, classes: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
        """Features, and (class, start, end) of each instance."""
        rng, share = self.rng, self.shape.share
        length = int(rng.integers(150, 250) if share < 0.05 else rng.integers(50, 100))
        typical = 3 if share < 0.05 else (8 if share < 0.5 else 20)
        budget = share * length / len(classes)
        each = max(1, round(budget / typical))
        sizes = np.maximum(2, np.round(budget / each * rng.uniform(0.6, 1.4, (len(classes), each)))).astype(int)
        instances = [(int(c), int(size)) for c, row in zip(classes, sizes, strict=True) for size in row]
        instances = [instances[place] for place in rng.permutation(len(instances))]
        free = max(length - sum(size for _, size in instances), len(instances) + 1)
        gaps = rng.multinomial(free, rng.dirichlet(np.ones(len(instances) + 1)))
        features = np.zeros((sum(size for _, size in instances) + free, GRID.width))
        self._fill_background(features)
        at, found = 0, []
        for (label, size), gap in zip(instances, gaps, strict=False):
            start, end = at + gap, at + gap + size
            reach = max(1, size // 4)
            features[max(at, start - reach) : start] = self.surroundings[label // FAMILY]
            features[end : end + reach] = self.surroundings[label // FAMILY]
            features[start:end] = self.cores[label]
            approach = start + size // 3
            features[start:approach] = 0.5 * self.cores[label] + 0.7 * self.approaches[label // FAMILY]
            found.append((label, start, end))
            at = end
        scene = self.surroundings[classes[0] // FAMILY] * 0.3
        return (features + scene + rng.normal(size=features.shape)).astype(np.float32), found

    def _fill_background(self, features: np.ndarray) -> None:
        at = 0
        while at < len(features):
            end = at + int(self.rng.integers(3, 12))
            if self.rng.random() < 0.6:
                features[at:end] = self.movements[self.rng.integers(MOVEMENTS)]
            at = end


def make_dataset(folder: Path, shape: Shape, *, seed: int) -> tuple[Dataset, FeatureStore]:
    """Training videos and test videos of a shape; features are written to `folder`."""
    world, store, entries = World(shape, seed=seed), FeatureStore.create(folder, GRID), []
    names = tuple(f"class{number:03d}" for number in range(shape.classes))
    for number in range(shape.videos + TESTED):
        classes = world.draw_classes()
        features, instances = world.draw_video(classes)
        video_id = f"v{number:04d}"
        store.save(video_id, features)
        segments = tuple(Segment(names[label], float(start), float(end)) for label, start, end in instances)
        labels = tuple(names[label] for label in classes)
        subset = "training" if number < shape.videos else "testing"
        entries.append(VideoEntry(video_id, subset, float(len(features)), labels, segments, None))
    return Dataset(shape.name, names, tuple(entries)), store
