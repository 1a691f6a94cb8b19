"""Comparison with features of others: each way in which they can differ is named."""

import numpy as np
import pytest

from cache.features import FeatureGrid
from priors.features.comparison import compare

GRID = FeatureGrid(streams={"rgb": 32, "flow": 32}, fps=25, snippet_frames=16, snippet_stride=16)


def walk(seed: int, length: int, width: int = 64) -> np.ndarray:
    """Features that are never negative and change slowly, as those of videos do."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.standard_normal((length, width)), axis=0)
    return np.maximum(0, 3 * rng.random(width) + steps / 2).astype(np.float32)


OURS = walk(0, 90)


def hints(theirs: np.ndarray) -> str:
    """Everything that is said."""
    found = compare(OURS, theirs, GRID)
    return "; ".join([*found.hints, *(hint for one in found.streams for hint in one.hints)])


def test_equal_features_have_nothing_to_tell():
    """Nor have those that end a snippet earlier, in half precision."""
    found = compare(OURS, OURS[:-1].astype(np.float16), GRID)
    assert hints(OURS[:-1].astype(np.float16)) == ""
    assert found.same_length
    for one in found.streams:
        assert one.cosine == pytest.approx(1, abs=1e-4)
        assert one.scale == pytest.approx(1, abs=1e-2)
        assert one.by_chance < 0.95


@pytest.mark.parametrize(
    ("theirs", "hint"),
    [
        (OURS[:, [*range(32, 64), *range(32)]], "order of streams: rgb fits its columns of flow better (cosine 1.000)"),
        (np.concatenate([OURS[:1].repeat(2, axis=0), OURS])[:90], "shifted grid: it fits better +2 snippets (+1.28 s)"),
        (OURS[3:], "shifted grid: it fits better -3 snippets (-1.92 s) away (cosine 1.000)"),
        (OURS * 4, "other scale: its numbers are 4 times as large"),
        (OURS / np.linalg.norm(OURS, axis=1, keepdims=True), "other scale"),
        (OURS.repeat(4, axis=0), "other stride: 4 times as many snippets, one every 4 frames at 25 fps"),
        (OURS[::2], "other stride: 0.5 times as many snippets, one every 32 frames"),
        (OURS.T, "its axes are swapped"),
        (np.stack([OURS] * 10, axis=1), "it holds 10 crops a snippet"),
        (OURS[:, 32:], "it holds one stream, taken for flow"),
    ],
    ids=["order", "later", "earlier", "scale", "norm", "stride 4", "stride 32", "swapped", "crops", "one stream"],
)
def test_each_difference_is_named(theirs, hint):
    """And no other of them, but a shorter one that is told besides."""
    told = hints(theirs)
    assert hint in told
    kinds = ["order of", "shifted", "other scale", "other stride", "swapped", "crops", "one stream"]
    assert sum(kind in told for kind in kinds) == 1


def test_features_of_another_video_are_no_better_than_chance():
    """So the cosine alone says little."""
    found = compare(OURS, walk(1, 90), GRID)
    for one in found.streams:
        assert one.cosine < one.by_chance + 0.1


def test_other_shapes_are_refused():
    """With the widths that would do."""
    with pytest.raises(ValueError, match=r"found shape \(90, 33\), expected \(snippets, 32 or 64\)"):
        compare(OURS, np.ones((90, 33)), GRID)
