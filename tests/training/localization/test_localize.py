"""Detections from constructed curves whose right segments and seconds are known."""

import numpy as np
import pytest

from benchmarks.evaluation import plain_postprocessing as plain
from cache.detections import Detection
from cache.features import FeatureGrid
from training.localization.localize import LocalizeRecipe, cam_candidates, choose_classes, localize
from training.localization.proposals import Candidates

CLASSES = ("Dive", "Jump", "Run")
GRID = FeatureGrid(streams={"rgb": 4}, fps=25.0, snippet_frames=16, snippet_stride=16)
CAM = LocalizeRecipe(source="cam", suppression="none", min_score=0.3)


def curves(length: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """T-CAM and attention: class 1 acts in [10, 20) and [30, 34)."""
    cas, attention = np.zeros((length, 3)), np.full(length, 0.1)
    for start, end, height in ((10, 20, 0.9), (30, 34, 0.8)):
        cas[start:end, 1] = height
        attention[start:end] = 0.8
    return cas, attention


def detect(
    recipe: LocalizeRecipe, *, grid: FeatureGrid = GRID, duration: float | None = 25.6, **other: object
) -> list[Detection]:
    """Detections of the constructed video, or of what `other` puts in its place."""
    cas, attention = curves()
    inputs = {"video_scores": np.array([0.05, 0.9, 0.05]), "cas": cas, "attention": attention, **other}
    return localize("v", recipe=recipe, grid=grid, classes=CLASSES, duration=duration, **inputs)  # pyright: ignore[reportArgumentType]


def head_candidates(*rows: tuple[float, float, int, float]) -> Candidates:
    """(start, end, label, score) as candidates of the head."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Candidates(table[:, :2], table[:, 2].astype(np.int64), table[:, 3])


@pytest.mark.parametrize("curve", ["attention", "cas", "fused"])
def test_plateaus_in_seconds(curve: str) -> None:
    """Snippets [10, 20) at 16 frames each and 25 frames a second are 6.4 to 12.8 s; the video score is added."""
    found = detect(CAM.model_copy(update={"curves": (curve,)}))
    spans = [(d.video_id, d.label, round(d.start, 6), round(d.end, 6)) for d in found]
    assert spans == [("v", "Jump", 6.4, 12.8), ("v", "Jump", 19.2, 21.76)]
    assert found[0].score == pytest.approx(0.9 * 0.8 + 0.2 * 0.9)


@pytest.mark.parametrize(("fps", "stride"), [(25.0, 16), (25.0, 4), (10.0, 8)])
def test_seconds_follow_the_grid(fps: float, stride: int) -> None:
    """Start and end are positions times stride / fps, whatever the snippet's own length is."""
    grid = FeatureGrid(streams={"rgb": 4}, fps=fps, snippet_frames=16, snippet_stride=stride)
    found = detect(CAM, grid=grid, duration=None)
    assert (found[0].start, found[0].end) == pytest.approx((10 * stride / fps, 20 * stride / fps))


def test_detections_end_with_the_video() -> None:
    """Beyond the duration they are cut, or dropped if nothing is left; without one the last snippet's end counts."""
    assert [d.end for d in detect(CAM, duration=20.0)] == pytest.approx([12.8, 20.0])
    assert [d.end for d in detect(CAM, duration=15.0)] == pytest.approx([12.8])
    head = head_candidates((-3.0, 99.0, 1, 0.9))
    (whole,) = detect(LocalizeRecipe(), duration=None, head=head)
    assert (whole.start, whole.end) == (0.0, GRID.end_seconds(39))


def test_which_classes() -> None:
    """Those at the threshold, else the best alone."""
    assert choose_classes(np.array([0.2, 0.5, 0.1]), threshold=0.2).tolist() == [True, True, False]
    assert choose_classes(np.array([0.1, 0.15, 0.1]), threshold=0.2).tolist() == [False, True, False]


def test_which_classes_beside_the_best() -> None:
    """Five classes that share a softmax are all there, though none reaches the threshold; a faint one is not."""
    shared = np.array([0.19, 0.18, 0.17, 0.16, 0.15, 0.02])
    assert choose_classes(shared, threshold=0.2).sum() == 1
    assert choose_classes(shared, threshold=0.2, choice="relative").tolist() == [True] * 5 + [False]
    assert choose_classes(np.zeros(3), threshold=0.2, choice="relative").any()
    found = detect(CAM.model_copy(update={"class_choice": "relative"}), video_scores=np.array([0.05, 0.1, 0.01]))
    assert {d.label for d in found} == {"Jump"}  # class 0 is at half of the best, but its T-CAM is flat
    scores = np.array([0.05, 0.1, 0.01])
    lenient = CAM.model_copy(update={"class_choice": "relative", "min_score": 0.0})
    assert {d.label for d in detect(lenient, video_scores=scores)} == {"Dive", "Jump"}
    strict = lenient.model_copy(update={"class_threshold": 0.6})
    assert {d.label for d in detect(strict, video_scores=scores)} == {"Jump"}


@pytest.mark.parametrize(("field", "value"), [("video_scores", "against_background"), ("class_choice", "relative")])
def test_public_code_chooses_its_own_way(field: str, value: str) -> None:
    """Its post-processing knows neither; the message names what was found and what is expected."""
    with pytest.raises(ValueError, match=rf"official: found 'um' with .*{field} '{value}'.*expected 'softmax'"):
        LocalizeRecipe.model_validate({"source": "cam", "official": "um", field: value})


def test_one_segment_list_a_class() -> None:
    """The attention's segments serve every chosen class; each stands once however many thresholds cut it alike."""
    cas, attention = curves()
    scores = np.array([0.3, 0.9, 0.0])
    found = cam_candidates(cas, attention, scores >= 0.2, scores, recipe=LocalizeRecipe())
    pairs = list(zip(found.labels.tolist(), found.segments.tolist(), strict=True))
    assert len(pairs) == 2 * 2
    assert pairs[0] == (0, [10.0, 20.0])
    assert found.scores[found.labels == 0].tolist() == pytest.approx([0.2 * 0.3] * 2)


def test_absolute_thresholds() -> None:
    """Without stretching, an attention that never reaches a threshold proposes nothing there."""
    recipe = CAM.model_copy(update={"relative": False, "thresholds": (0.85,)})
    assert detect(recipe) == []
    assert len(detect(recipe.model_copy(update={"thresholds": (0.75,)}))) == 2


def test_head_candidates_are_gated_and_suppressed() -> None:
    """Soft suppression lowers the second of two twins by exp(-1 / sigma); a class that the video lacks is gated."""
    head = head_candidates((10, 20, 1, 0.8), (10, 20, 1, 0.5), (3, 5, 2, 0.9))
    found = detect(LocalizeRecipe(sigma=0.3), head=head)
    assert [d.label for d in found] == ["Jump", "Jump"]
    assert [d.score for d in found] == pytest.approx([0.8, 0.5 * np.exp(-1 / 0.3)])
    assert found[0].start == pytest.approx(6.4)
    assert detect(LocalizeRecipe(gate=False), head=head)[0].label == "Run"
    assert len(detect(LocalizeRecipe(suppression="hard"), head=head)) == 1
    assert len(detect(LocalizeRecipe(suppression="none"), head=head)) == 2
    assert len(detect(LocalizeRecipe(suppression="none", most=1), head=head)) == 1
    (joined,) = detect(LocalizeRecipe(suppression="fuse", temperature=0.3), head=head)
    assert joined.score == 0.8
    assert detect(LocalizeRecipe(suppression="none", longer_than=10.0), head=head) == []


def test_overlap_of_hard_suppression() -> None:
    """A short detection inside a long one is a small share of both, and all of itself."""
    head = head_candidates((0, 40, 1, 0.8), (10, 14, 1, 0.5))
    assert len(detect(LocalizeRecipe(suppression="hard"), head=head)) == 2
    assert len(detect(LocalizeRecipe(suppression="hard", overlap="lower"), head=head)) == 1


def test_curves_between_snippets() -> None:
    """With ten points a snippet the attention is cut where the line between two middles crosses the threshold."""
    recipe = CAM.model_copy(update={"upsample": 10, "thresholds": (0.7,)})
    spans = [(round(d.start / 0.64, 6), round(d.end / 0.64, 6)) for d in detect(recipe)]
    assert spans == [(10.2, 19.8), (30.2, 33.8)]


def test_attention_has_thresholds_of_its_own() -> None:
    """Where it is cut elsewhere than the T-CAM, both kinds of segments are there."""
    recipe = CAM.model_copy(update={"curves": ("attention", "cas"), "thresholds": (0.5,), "relative": False})
    assert len(detect(recipe)) == 2
    _, attention = curves()
    attention[20:22] = 0.45
    wider = recipe.model_copy(update={"attention_thresholds": (0.4,), "min_score": 0.0})
    assert len(detect(wider, attention=attention)) == 3
    assert len(detect(recipe, attention=attention)) == 2


def test_rows_may_be_several_snippets() -> None:
    """`step` stretches the bounds; without a duration the last row ends the video."""
    (once, _), (twice, _) = detect(CAM), detect(CAM, duration=51.2, step=2.0)
    assert (twice.start, twice.end) == (2 * once.start, 2 * once.end)
    head = head_candidates((0, 99, 1, 0.9))
    assert detect(LocalizeRecipe(), duration=None, head=head, step=2.0)[0].end == GRID.end_seconds(79)


def test_attention_weighs_the_head() -> None:
    """With attention_power 1 a score is multiplied by the mean attention inside its segment."""
    recipe = LocalizeRecipe(attention_power=1.0, suppression="none")
    found = detect(recipe, head=head_candidates((10, 20, 1, 0.8), (15, 25, 1, 0.8)))
    assert [d.score for d in found] == pytest.approx([0.8 * 0.8, 0.8 * 0.45])


def test_both_sources_compete() -> None:
    """Head and T-CAM candidates are suppressed together, the latter's scores times their weight."""
    head = head_candidates((10, 20, 1, 0.5))
    recipe = LocalizeRecipe(source="head+cam", suppression="hard", cam_weight=0.5)
    found = detect(recipe, head=head)
    assert [round(d.start, 2) for d in found] == [6.4, 19.2]
    assert [d.score for d in found] == pytest.approx([0.5, 0.5 * (0.64 + 0.18)])


def test_head_is_needed() -> None:
    """A model without a head must not silently fall back to the T-CAM."""
    with pytest.raises(ValueError, match="no localization head"):
        detect(LocalizeRecipe(source="head"))


def plain_localize(
    cas: np.ndarray, attention: np.ndarray, video_scores: np.ndarray, suppression: str
) -> list[tuple[str, float, float, float]]:
    """(class, score, start, end in seconds), the best first: class after class, threshold after threshold, with the
    defaults of the recipe written out."""
    chosen = [label for label, score in enumerate(video_scores) if score >= 0.2] or [int(np.argmax(video_scores))]
    low, high = min(attention), max(attention)
    shares = np.array([(value - low) / (high - low) for value in attention])
    rows = []
    for label in chosen:
        bonus = 0.2 * video_scores[label]
        found = plain.propose(
            shares, cas[:, label] * attention, [k / 10 for k in range(1, 10)], label=label, bonus=bonus
        )
        match suppression:
            case "soft":
                found = plain.soft_nms(found, sigma=0.3)
            case "hard":
                found = plain.hard_nms(found, tiou=0.6)
            case "fuse":
                found = plain.fuse(found, tiou=0.6, temperature=0.1)
        rows += [row for row in found if row[1] >= 0.001]
    rows.sort(key=lambda row: -row[1])
    return [(CLASSES[int(label)], score, start * 16 / 25, end * 16 / 25) for label, score, start, end in rows]


@pytest.mark.parametrize("suppression", ["soft", "hard", "fuse", "none"])
@pytest.mark.parametrize("seed", range(5))
def test_from_curves_to_detections_as_plain_loops_have_it(suppression: str, seed: int) -> None:
    """The whole road, from T-CAM and attention to ranked seconds, on curves of chance."""
    rng = np.random.default_rng(seed)
    ripple = np.convolve(rng.random(64), np.ones(5) / 5, mode="same")
    cas, attention = rng.random((60, 3)), ripple[2:62]
    video_scores = np.array([0.1, 0.15, 0.05]) if seed == 0 else rng.random(3)
    recipe = LocalizeRecipe.model_validate({"source": "cam", "suppression": suppression})
    found = detect(recipe, cas=cas, attention=attention, video_scores=video_scores, duration=None)
    expected = plain_localize(cas, attention, video_scores, suppression)
    assert len(expected) > 5
    assert [d.label for d in found] == [label for label, *_ in expected]
    numbers = [(d.score, d.start, d.end) for d in found]
    np.testing.assert_allclose(numbers, [row[1:] for row in expected], atol=1e-9)


@pytest.mark.parametrize("length", [0, 1])
def test_tiny_videos(length: int) -> None:
    """No snippet: no detection. One snippet: one detection of its length, for the best class."""
    cas, attention = np.full((length, 3), 0.5), np.full(length, 0.5)
    found = detect(LocalizeRecipe(source="cam"), cas=cas, attention=attention, duration=None)
    assert [(d.label, d.start, d.end) for d in found] == [("Jump", 0.0, 0.64)] * length
