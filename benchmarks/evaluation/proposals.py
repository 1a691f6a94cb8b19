"""How much faster a video's proposals are made and suppressed than in plain Python, with the same results.

`python -m benchmarks proposals [--videos 40]` draws videos as long as those of THUMOS14's test set (median 254
snippets, the longest 2,615), 20 classes of which one to three are localized. Both forms run on each, their results are
compared, and the table gives the time a video and the ratio. It exits with 1 if grouping and scores are less than 10
times faster: far from the 40 that were measured, so that noise does not decide. The last lines time suppression of
100,000 candidates of one class, without a comparison.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.evaluation import plain_postprocessing as plain
from cache.detections import Detection
from cache.features import FeatureGrid
from training.compat.localize import official_candidates, official_recipe
from training.localization.localize import LocalizeRecipe, cam_candidates, choose_classes, localize
from training.localization.proposals import Candidates
from training.localization.suppression import fuse, hard_nms, soft_nms

CLASSES = 20
QUANTILES = ((0.0, 24), (0.25, 150), (0.5, 254), (0.75, 420), (0.95, 800), (1.0, 2615))
"""Share of the videos with so many snippets or fewer."""
RECIPE = LocalizeRecipe(source="cam")
GRID = FeatureGrid(streams={"rgb": 1024, "flow": 1024}, fps=25, snippet_frames=16, snippet_stride=16)
OFFICIAL = official_recipe("co2net")
NAMES = tuple(f"class{number:02d}" for number in range(CLASSES))
GROUPING = "grouping and scores"
WANTED = 10.0
CROWD = 100_000


@dataclass(frozen=True)
class Video:
    """What the networks say of a made-up video."""

    cas: np.ndarray
    attention: np.ndarray
    video_scores: np.ndarray
    logits: np.ndarray


@dataclass
class Part:
    """One line of the table: seconds over all videos."""

    name: str
    plain: float = 0.0
    ours: float = 0.0
    ratios: list[float] = field(default_factory=list)

    def add(self, plain: float, ours: float) -> None:
        """The times of one video."""
        self.plain += plain
        self.ours += ours
        self.ratios.append(plain / ours)


def make_video(length: int, rng: np.random.Generator) -> Video:
    """Instances of one to three classes among background, and noise as networks have it."""
    acting = np.full(length, -2.0)
    at = int(rng.gamma(2, 6))
    while at < length:
        end = at + 1 + int(rng.gamma(1.5, 5))
        acting[at:end] = rng.uniform(0.5, 3)
        at = end + 1 + int(rng.gamma(2, 6))
    noise = np.convolve(rng.normal(0, 1.2, length), np.ones(3) / 3, "same")
    attention = 1 / (1 + np.exp(-(acting + noise)))
    present = rng.choice(CLASSES, size=rng.integers(1, 4), replace=False)
    logits = rng.normal(0, 1, (length, CLASSES + 1))
    logits[:, present] += (acting + 2 + rng.normal(0, 0.5, length))[:, None]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    video_scores = np.full(CLASSES, 0.01)
    video_scores[present] = 0.9 / len(present)
    return Video(probability[:, :-1], attention, video_scores, logits)


def plain_candidates(video: Video) -> dict[int, list[plain.Row]]:
    """Scored segments by class."""
    low, high = video.attention.min(), video.attention.max()
    curve = (video.attention - low) / (high - low)
    found = {}
    for label in np.where(video.video_scores >= RECIPE.class_threshold)[0]:
        bonus = float(RECIPE.video_weight * video.video_scores[label])
        scored = video.cas[:, label] * video.attention
        found[int(label)] = plain.propose(curve, scored, RECIPE.thresholds, label=int(label), bonus=bonus)
    return found


def plain_official(video: Video) -> list[plain.Row]:
    """As CO2-Net's code does it."""
    weighted = video.logits * video.attention[:, None]
    highest = np.sort(weighted, axis=0)[-max(1, len(weighted) // 10) :].mean(axis=0)
    scores = (np.exp(highest) / np.exp(highest).sum())[:-1]
    labels = np.where(scores >= 0.2)[0]
    rows: list[plain.Row] = []
    for label in labels if len(labels) else [int(scores.argmax())]:
        args = (video.attention, weighted[:, label], np.linspace(0.1, 0.9, 10).tolist())
        own = plain.propose(*args, label=int(label), bonus=float(0.2 * scores[label]), official=True)
        rows += plain.soft_nms(own, sigma=0.3, extra=1.0)
    return rows


def seconds_of(work: Callable[[], object], times: int) -> float:
    """The fastest of several runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def assert_equal(theirs: list, ours: Candidates | list) -> None:
    """The same segments with the same scores, in any order."""
    one, other = (table[np.lexsort(np.round(table, 9).T)] for table in (_table(theirs), _table(ours)))
    assert one.shape == other.shape
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def _table(found: Candidates | list) -> np.ndarray:
    if isinstance(found, Candidates):
        return np.column_stack([found.labels, found.scores, found.segments])
    if found and isinstance(found[0], Detection):
        found = sorted(found, key=lambda d: -d.score)[: RECIPE.most]
        found = [[NAMES.index(one.label), one.score, one.start, one.end] for one in found]
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def plain_detections(rows: list[plain.Row]) -> list[Detection]:
    """As the results file wants them."""
    return [
        Detection("v", NAMES[int(label)], score, GRID.boundary_seconds(start), GRID.boundary_seconds(end))
        for label, score, start, end in rows
        if score >= RECIPE.min_score
    ]


def measure(video: Video, parts: dict[str, Part]) -> None:
    """Compare both forms on one video, and add their times."""
    chosen = choose_classes(video.video_scores, threshold=RECIPE.class_threshold)
    curves: dict[str, Any] = {"video_scores": video.video_scores, "cas": video.cas, "attention": video.attention}
    every = list(plain_candidates(video).values())
    ours = cam_candidates(video.cas, video.attention, chosen, video.video_scores, recipe=RECIPE)

    def plain_rows() -> list[plain.Row]:
        return _joined(plain.soft_nms(rows, sigma=RECIPE.sigma) for rows in plain_candidates(video).values())

    def our_rows() -> Candidates:
        found = cam_candidates(video.cas, video.attention, chosen, video.video_scores, recipe=RECIPE)
        return soft_nms(found, sigma=RECIPE.sigma, min_score=-np.inf)

    works: dict[str, tuple[Callable[[], list], Callable[[], Candidates | list]]] = {
        GROUPING: (
            lambda: _joined(plain_candidates(video).values()),
            lambda: cam_candidates(video.cas, video.attention, chosen, video.video_scores, recipe=RECIPE),
        ),
        "soft NMS": (
            lambda: _joined(plain.soft_nms(rows, sigma=0.3) for rows in every),
            lambda: soft_nms(ours, sigma=0.3, min_score=-np.inf),
        ),
        "hard NMS": (
            lambda: _joined(plain.hard_nms(rows, tiou=0.6) for rows in every),
            lambda: hard_nms(ours, tiou=0.6),
        ),
        "fusion": (
            lambda: _joined(plain.fuse(rows, tiou=0.3, temperature=0.1) for rows in every),
            lambda: fuse(ours, tiou=0.3, temperature=0.1),
        ),
        "whole": (plain_rows, our_rows),
        "the same, as detections": (
            lambda: plain_detections(plain_rows()),
            lambda: localize("v", recipe=RECIPE, grid=GRID, classes=NAMES, duration=None, **curves),
        ),
        "as public CO2-Net does": (
            lambda: plain_official(video),
            lambda: official_candidates(OFFICIAL, **curves, logits=video.logits, seconds=GRID.boundary_seconds(1.0)),
        ),
    }
    for name, (theirs_of, ours_of) in works.items():
        assert_equal(theirs_of(), ours_of())
        parts.setdefault(name, Part(name)).add(seconds_of(theirs_of, 3), seconds_of(ours_of, 3))


def make_candidates(count: int, rng: np.random.Generator, *, snippets: int, classes: int) -> Candidates:
    """Segments anywhere in a video, most of 2 to 20 snippets."""
    centre, half = rng.uniform(0, snippets, count), np.exp(rng.normal(1.5, 0.8, count))
    segments = np.stack([centre - half, centre + half], axis=1).clip(0, snippets)
    return Candidates(segments, rng.integers(0, classes, count), rng.uniform(0.01, 1, count))


def measure_head(count: int, rng: np.random.Generator) -> Part:
    """Soft NMS of what a localization head gives: all its points speak for up to three classes, and overlap a lot."""
    found = make_candidates(count, rng, snippets=254, classes=3)
    rows = [_table(found.take(found.labels == label)).tolist() for label in range(3)]

    def theirs() -> list[plain.Row]:
        return _joined(plain.soft_nms(own, sigma=0.3) for own in rows)

    assert_equal(theirs(), soft_nms(found, sigma=0.3))
    part = Part(f"soft NMS, head of {count}")
    part.add(seconds_of(theirs, 3), seconds_of(lambda: soft_nms(found, sigma=0.3), 3))
    return part


def _joined(rows: Iterable[list[plain.Row]]) -> list[plain.Row]:
    return list(itertools.chain.from_iterable(rows))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=40)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    shares = (np.arange(options.videos) + 1) / options.videos
    lengths = np.interp(shares, *np.array(QUANTILES).T).astype(int)
    parts: dict[str, Part] = {}
    for length in lengths.tolist():
        measure(make_video(length, rng), parts)
    print(f"{options.videos} videos of {lengths.min()} to {lengths.max()} snippets, median {int(np.median(lengths))}")
    print(f"{'a video':<24}{'plain':>12}{'ours':>12}{'ratio':>8}{'median ratio':>15}")
    for part in (*parts.values(), measure_head(500, rng), measure_head(2000, rng)):
        plain_ms, ours_ms = (1e3 * seconds / len(part.ratios) for seconds in (part.plain, part.ours))
        times = f"{plain_ms:>9.2f} ms{ours_ms:>9.3f} ms"
        print(f"{part.name:<24}{times}{part.plain / part.ours:>8.1f}{np.median(part.ratios):>15.1f}")
    for snippets in (254, 20_000):
        crowd = make_candidates(CROWD, rng, snippets=snippets, classes=1)
        soft = seconds_of(lambda crowd=crowd: soft_nms(crowd, sigma=0.3, min_score=RECIPE.min_score), 1)
        hard = seconds_of(lambda crowd=crowd: hard_nms(crowd, tiou=0.6), 1)
        print(f"{CROWD:,} candidates of a class, {snippets:,} snippets: soft NMS {soft:.1f} s, hard NMS {hard:.1f} s")
    grouping = parts[GROUPING]
    return int(grouping.plain / grouping.ours < WANTED)


if __name__ == "__main__":
    sys.exit(main())
