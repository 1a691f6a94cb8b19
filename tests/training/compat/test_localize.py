"""The public code's ways to detections: its own figures, its peculiarities one by one, and where they take effect."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks.evaluation import plain_postprocessing as plain
from benchmarks.evaluation.proposals import Video, plain_official
from tests.support.paths import GOLDENS
from tests.training.localization.test_localize import CLASSES, GRID, curves
from training.compat.localize import extend, official_candidates, official_localize, official_recipe
from training.localization.localize import LocalizeRecipe, localize
from training.localization.proposals import Candidates
from training.localization.suppression import drop_ambiguous

PUBLIC = np.load(GOLDENS / "postprocessing.npz")
SECONDS = 16 / 25


def rows_of(found: Candidates) -> np.ndarray:
    """(start, end, label, score), sorted."""
    return sort_rows(np.column_stack([found.segments, found.labels, found.scores]))


def sort_rows(rows: np.ndarray) -> np.ndarray:
    """By label, start, end and score, whatever rounding did to them."""
    start, end, label, score = np.round(rows, 4).T
    return rows[np.lexsort((score, end, start, label))]


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Bounds to 1e-9, scores to single precision, which the public code has."""
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours[:, :3], theirs[:, :3], rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours[:, 3], theirs[:, 3], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["co2net", "delu", "ddgnet", "boosting"])
@pytest.mark.parametrize("video", ["v0", "v1", "v2", "v3"])
def test_figures_of_co2net_and_its_descendants(method: Any, video: str) -> None:
    """Every proposal after soft suppression and the filter of ambiguous stretches; DELU's are cut twice as often.

    The figures of DDG-Net's and Boosting-WTAL's code are CO2-Net's.
    """
    logits, attention = (PUBLIC[f"co2net/{video}/{key}"].astype(float) for key in ("cas", "attn"))
    nothing = np.zeros(20)
    found = official_candidates(official_recipe(method), nothing, logits[:, :-1], attention, logits, seconds=SECONDS)
    stretches = PUBLIC[f"co2net/{video}/ambiguous_seconds"] / SECONDS
    stays = drop_ambiguous(found.segments, stretches, whole=True)
    assert stays.all() == (video != "v2")
    key = "delu" if method == "delu" else "co2net"
    assert_same(rows_of(found.take(stays)), sort_rows(PUBLIC[f"{key}/{video}/found"]))


@pytest.mark.parametrize("video", ["v0", "v1"])
def test_figures_of_um(video: str) -> None:
    """Proposals in seconds, of a video at its own length and of one that stands for 1,320 snippets in 750."""
    golden = {key: PUBLIC[f"um/{video}/{key}"].astype(float) for key in ("cas_softmax", "length", "score_act")}
    action, background = PUBLIC[f"um/{video}/length_action_background"]
    attention = ((golden["length"] - background) / (action - background)).clip(0, 1)
    cas = golden["cas_softmax"]
    detections = official_localize(
        "v",
        recipe=official_recipe("um"),
        grid=GRID,
        classes=tuple(map(str, range(20))),
        video_scores=golden["score_act"],
        cas=cas,
        attention=attention,
        logits=cas,
        step=int(PUBLIC[f"um/{video}/snippets"]) / len(cas),
    )
    ours = np.array([(one.start, one.end, float(one.label), one.score) for one in detections])
    assert_same(sort_rows(ours), sort_rows(PUBLIC[f"um/{video}/found"]))


def test_curves_are_extended_as_published() -> None:
    """24 values a snippet; the last 23 lie beyond the last sample."""
    source, wanted = PUBLIC["um/upsample/in"], PUBLIC["um/upsample/out_x24"]
    np.testing.assert_allclose(extend(source[..., 0].T, 24).T, wanted[..., 0], rtol=0, atol=1e-12)
    assert extend(np.array([[0.5]]), 3).tolist() == [[0.5] * 3]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_co2net_is_its_plain_form(length: int, seed: int) -> None:
    """Thresholds, guard, margins of whole snippets, repeated segments, rising negative scores."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (length, 21))
    attention = rng.integers(0, 11, length) / 10
    video = Video(logits[:, :-1], attention, np.zeros(20), logits)
    args = (official_recipe("co2net"), video.video_scores, video.cas, attention, logits)
    theirs = np.array(plain_official(video)).reshape(-1, 4)[:, [2, 3, 0, 1]]
    np.testing.assert_allclose(
        rows_of(official_candidates(*args, seconds=SECONDS)), sort_rows(theirs), rtol=1e-9, atol=1e-9
    )


def test_snippet_0_alone_is_lost_and_a_value_at_the_threshold_is_below_it() -> None:
    """Only snippet 0 exceeds 0.5 in one video, only snippet 1 in the other; none does where both equal it."""
    recipe = official_recipe("co2net").model_copy(update={"thresholds": (0.5,)})
    logits = np.zeros((4, 3))
    for attention, found in (([0.9, 0.1], 0), ([0.1, 0.9], 1), ([0.9, 0.9], 1), ([0.5, 0.5], 0)):
        args = (recipe, np.zeros(2), logits[:, :-1], np.array([*attention, 0, 0]), logits)
        kept = official_candidates(*args, seconds=SECONDS)
        assert len(np.unique(kept.segments, axis=0)) == found


def plain_gaufuse(curve: np.ndarray, label: int, *, thresholds: tuple[float, ...], fused: bool) -> list[list[float]]:
    """The code of Zhou et al. restated for one class: [start, end, label, score]."""
    rows = []
    for threshold in thresholds:
        above = [False, *(curve > threshold).tolist(), False]
        starts = [t for t in range(len(curve)) if above[t + 1] and not above[t]]
        ends = [t for t in range(1, len(curve) + 1) if above[t] and not above[t + 1]]
        for start, end in zip(starts, ends, strict=True):
            if end - start < 2:
                continue
            width = 0.0785 * (end - start) ** 0.9
            inner = np.mean(curve[start : end + 1])
            low, high = max(0, int(start - width)), min(len(curve) - 1, int(end + width + 1))
            around = list(range(low, start)) + list(range(end + 1, high))
            outer = np.mean(curve[around]) if around else 0.0
            rows.append([float(start), float(end + 1), float(inner - outer), float(inner)])
    waiting = sorted(rows, key=lambda row: row[2])
    found = []
    while waiting:
        best = waiting.pop()
        shares = [max(0.0, min(best[1], row[1]) - max(best[0], row[0]) + 1) / (row[1] - row[0] + 1) for row in waiting]
        joined = [best, *(row for row, share in zip(waiting, shares, strict=True) if share > 0.25)]
        waiting = [row for row, share in zip(waiting, shares, strict=True) if share <= 0.25]
        weights = [math.exp(row[3] / 0.2) for row in joined] if fused else [1.0] + [0.0] * (len(joined) - 1)
        means = [sum(w * row[column] for w, row in zip(weights, joined, strict=True)) for column in range(3)]
        start, end, score = (mean / sum(weights) for mean in means)
        found.append([start, end, label, score])
    return found


@pytest.mark.parametrize("fused", [False, True])
def test_gaufuse_is_its_plain_form(fused: bool) -> None:
    """Longer segments, margins by a power of the length, overlap of the lower one; the best alone, or the average."""
    recipe = official_recipe("gaufuse").model_copy(update={"suppression": "fuse" if fused else "hard"})

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 60), st.integers(0, 2**32 - 1))
    def check(length: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        cas = rng.uniform(0, 0.06, (length, 3)) * (rng.uniform(0, 1, (length, 1)) > 0.2)
        attention = rng.uniform(0.5, 1, length)
        video_scores = np.array([0.5, 0.1, 0.16])
        found = official_candidates(recipe, video_scores, cas, attention, cas, seconds=SECONDS)
        theirs = []
        for label in (0, 2):
            theirs += plain_gaufuse(cas[:, label] * attention, label, thresholds=recipe.thresholds, fused=fused)
        wanted = sort_rows(np.array(theirs).reshape(-1, 4))
        np.testing.assert_allclose(rows_of(found), wanted, rtol=1e-9, atol=1e-9)

    check()


def test_no_class_reaches_the_threshold() -> None:
    """CO2-Net and UM take the best class then, Zhou et al. none."""
    cas, attention = curves()
    low = np.array([0.01, 0.02, 0.01])
    for method, labels in (("um", [1]), ("gaufuse", [])):
        found = official_candidates(official_recipe(method), low, cas, attention, cas, seconds=SECONDS)  # pyright: ignore[reportArgumentType]
        assert np.unique(found.labels).tolist() == labels


@pytest.mark.parametrize("method", ["co2net", "delu", "um", "gaufuse"])
def test_detections_in_seconds(method: Any) -> None:
    """Best first, on the grid; a video without snippets has none; DELU leaves out what is one snippet long."""
    cas, attention = curves()
    attention[38] = 0.95
    recipe = official_recipe(method)
    assert LocalizeRecipe.model_validate(recipe.model_dump()) == recipe
    given: dict[str, Any] = {
        "video_scores": np.array([0.05, 0.9, 0.05]),
        "cas": cas,
        "attention": attention,
        "logits": np.column_stack([5 * cas, np.zeros(len(cas))]),
    }
    found = official_localize("v", recipe=recipe, grid=GRID, classes=CLASSES, **given)
    assert {one.label for one in found} == {"Jump"}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    lengths = [round((one.end - one.start) / SECONDS, 2) for one in found]
    assert min(lengths) == {"co2net": 1.0}.get(method, min(lengths))
    assert method != "delu" or min(lengths) > 1
    empty = {name: values[:0] if name != "video_scores" else values for name, values in given.items()}
    assert official_localize("v", recipe=recipe, grid=GRID, classes=CLASSES, **empty) == []


def test_public_ways_and_the_corrected_one_are_kept_apart() -> None:
    """Public code has no head; neither function takes the other's recipe for its own."""
    with pytest.raises(ValidationError, match="found 'um' with source 'head', expected source 'cam'"):
        LocalizeRecipe(official="um")
    cas, attention = curves()
    scores = np.array([0.05, 0.9, 0.05])
    with pytest.raises(ValueError, match=r"v: localize\.official is 'um'"):
        localize(
            "v", recipe=official_recipe("um"), grid=GRID, classes=CLASSES, duration=None, video_scores=scores,
            cas=cas, attention=attention,
        )  # fmt: skip
    with pytest.raises(ValueError, match="expected a family of public code"):
        official_candidates(LocalizeRecipe(source="cam"), scores, cas, attention, cas, seconds=SECONDS)


def test_lengths_of_the_plain_form() -> None:
    """The plain form tells lengths from lengths + 1: the comparisons above would not hold without it."""
    rows = [[0.0, 0.9, 0.0, 1.0], [0.0, 0.8, 1.0, 2.0]]
    assert plain.soft_nms(rows, sigma=0.3)[1][1] == 0.8
    assert plain.soft_nms(rows, sigma=0.3, extra=1.0)[1][1] < 0.8
