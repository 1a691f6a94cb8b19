"""Validation while training: its score, the best checkpoint, and that it changes nothing of the training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from cache.annotations import Dataset
from tests.support.data.toy_data import tiny_recipe, toy_dataset, toy_store
from tests.training.loop.test_fit import assert_equal, changed, checkpoint, lines, load
from training.checkpoints.checkpoint import Trained, load_state
from training.checkpoints.folder import FOLDER, best_checkpoint
from training.errors import TrainingError
from training.inference import load_run
from training.loop.fit import fit
from training.loop.validation import Validator, video_map
from training.recipe import TrainRecipe, ValidationRecipe


def plain_video_map(scores: list[list[float]], labels: list[list[int]]) -> float:
    """Of each class, the precision at each of its videos in the ranking; means of means."""
    means = []
    for c in range(len(scores[0])):
        ranking = sorted(range(len(scores)), key=lambda v: (-scores[v][c], labels[v][c]))
        precisions = []
        for place, video in enumerate(ranking, start=1):
            if labels[video][c]:
                precisions.append(sum(labels[v][c] for v in ranking[:place]) / place)
        if precisions:
            means.append(sum(precisions) / len(precisions))
    return sum(means) / len(means)


def test_video_map_restated():
    """On draws with ties and a class without videos."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, labels = rng.integers(0, 4, (7, 4)) / 4, rng.integers(0, 2, (7, 4))
        labels[:, 3] = 0
        labels[0, 0] = 1
        expected = plain_video_map(scores.tolist(), labels.tolist())
        assert video_map(scores, labels.astype(float)) == pytest.approx(expected)


def validated() -> Dataset:
    """The toy dataset, whose last training videos are validation videos."""
    dataset = toy_dataset()
    videos = [
        replace(video, subset="validation") if video.video_id in ("v6", "v7", "v8") else video
        for video in dataset.videos
    ]
    return replace(dataset, videos=tuple(videos))


class Scripted(Validator):
    """Gives scores from a list."""

    def __init__(self, scores: list[float]) -> None:
        self.recipe, self.scores, self.steps = ValidationRecipe(every=2), iter(scores), []

    def __call__(self, trained: Trained) -> float:
        """The next one."""
        self.steps.append(trained.state.step)
        return next(self.scores)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the toy dataset."""
    return tmp_path_factory.mktemp("features")


def recipe_of(criterion: str = "labels", every: int = 2) -> TrainRecipe:
    """Validated every other step."""
    return tiny_recipe().model_copy(update={"validation": ValidationRecipe(every=every, criterion=criterion)})  # pyright: ignore[reportArgumentType]


def test_the_best_is_kept_beside_the_last(features: Path, tmp_path: Path):
    """Whatever comes after it; its score and criterion are told, and inference reads it when asked."""
    recipe = changed(recipe_of(), loop={"checkpoint_every": 2})
    fit(load(features, recipe), recipe, run=tmp_path, validator=Scripted([0.1, 0.9, 0.4, 0.5]))
    best = best_checkpoint(tmp_path)
    assert best is not None
    assert (best.folder.name, best.score, best.criterion) == ("step-00000004", 0.9, "validation.labels")
    assert [line["validation.validation.labels"] for line in lines(tmp_path)] == [0.1, 0.9, 0.4, 0.5]
    kept = sorted(path.name for path in (tmp_path / FOLDER).glob("step-*"))
    assert kept == ["step-00000004", "step-00000006", "step-00000008"]
    dataset = toy_dataset()
    for chosen, step in ((best.folder, 4), (None, 8)):
        assert load_run(tmp_path, dataset, toy_store(features, dataset), checkpoint=chosen).state.step == step


def test_validation_changes_no_weight(features: Path, tmp_path: Path):
    """The real validator, on its videos; weights and average are those of a run without."""
    dataset = validated()
    recipe = recipe_of()
    validator = Validator(dataset, toy_store(features, dataset), recipe.validation, trained_on="training")
    fit(load(features, recipe), recipe, run=tmp_path / "with", validator=validator)
    fit(load(features, recipe), tiny_recipe(), run=tmp_path / "without")
    for name in ("model.safetensors", "ema.safetensors"):
        assert_equal(*(load_file(checkpoint(tmp_path / run) / name) for run in ("with", "without")))
    assert all(0 < line["validation.validation.labels"] <= 1 for line in lines(tmp_path / "with"))


def test_a_run_that_goes_on_knows_its_best(features: Path, tmp_path: Path):
    """A worse score after the stop does not replace it; a new start forgets it."""
    recipe = recipe_of()
    short = changed(recipe, loop={"steps": 4})
    fit(load(features, short), short, run=tmp_path, validator=Scripted([0.2, 0.8]))
    fit(load(features, recipe), recipe, run=tmp_path, validator=Scripted([0.3, 0.4]))
    best = best_checkpoint(tmp_path)
    assert best is not None
    assert load_state(best.folder).step == 4
    fit(load(features, recipe), recipe, run=tmp_path, resume=False)
    assert best_checkpoint(tmp_path) is None
    (tmp_path / FOLDER / "best").write_text("")
    assert best_checkpoint(tmp_path) is None


def test_scores_of_another_criterion_are_not_compared(features: Path, tmp_path: Path):
    """A run that goes on under another one starts its search for the best anew."""
    recipe = recipe_of()
    short = changed(recipe, loop={"steps": 4})
    fit(load(features, short), short, run=tmp_path, validator=Scripted([0.8, 0.9]))
    other = Scripted([0.3, 0.2])
    other.recipe = ValidationRecipe(every=2, criterion="segments")
    fit(load(features, recipe), recipe, run=tmp_path, validator=other)
    best = best_checkpoint(tmp_path)
    assert best is not None
    assert (best.score, best.criterion) == (0.3, "validation.segments")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (ValidationRecipe(subset="training"), "validation.subset: found training, which is trained on"),
        (ValidationRecipe(criterion="segments", subset="unlabelled"), "found no videos with labels"),
        (ValidationRecipe(criterion="segments"), "found no segments, which validation by segments needs"),
    ],
)
def test_what_can_not_be_validated_is_refused(features: Path, recipe: ValidationRecipe, message: str):
    """Before the first step."""
    dataset = validated()
    bare = [replace(video, segments=()) if video.subset == "validation" else video for video in dataset.videos]
    bare.append(replace(bare[0], video_id="x", subset="unlabelled", labels=(), segments=()))
    dataset = replace(dataset, videos=tuple(bare))
    with pytest.raises(TrainingError, match=message):
        Validator(dataset, toy_store(features, dataset), recipe, trained_on="training")
