"""All criteria of a trial: their names, and that a model which localizes is preferred to those that do not."""

from typing import get_args

import numpy as np
import pytest

from training.evaluation.label_free.criteria import Candidate, Criterion, Model, criteria

LENGTH, VIDEOS = 40, 12


def candidate(*, quality: str, models: int = 2) -> Candidate:
    """Models whose detections are right, at random places in each pass, whole videos, or of the wrong class."""
    rng = np.random.default_rng(0)
    labels = np.zeros((VIDEOS, 2), dtype=bool)
    labels[np.arange(VIDEOS), np.arange(VIDEOS) // 2 % 2] = True
    true = []
    for row in labels:
        one = np.zeros((LENGTH, 2))
        start = int(rng.integers(LENGTH - 10))
        one[start : start + 8, row] = 1
        true.append(one)

    def drawn(noise: float) -> list[np.ndarray]:
        match quality:
            case "right":
                return [one * (1 - noise * rng.random()) for one in true]
            case "anywhere":
                return [np.roll(one, int(rng.integers(LENGTH)), axis=0) for one in true]
            case "whole":
                return [np.ones_like(one) * row for one, row in zip(true, labels, strict=True)]
            case _:
                return [one[:, ::-1] for one in true]

    half = VIDEOS // 2
    every = [
        Model(
            held_out=slice(place * half, (place + 1) * half) if models > 1 else slice(0, VIDEOS),
            video_scores=0.1 + 0.8 * labels,
            cams=[one + 0.1 * rng.normal(size=one.shape) for one in true],
            attentions=[one.max(1) for one in true],
        )
        for place in range(models)
    ]
    maps, again = ([drawn(0.1) for _ in range(models)] for _ in range(2))
    return Candidate(every, maps, again, labels, true)


def test_every_criterion_has_a_value():
    """Every criterion has a value."""
    assert set(criteria(candidate(quality="right"))) == set(get_args(Criterion))


def test_a_single_model_has_no_criterion_of_two():
    """A single model has no criterion of two."""
    assert set(get_args(Criterion)) - set(criteria(candidate(quality="right", models=1))) == {
        "agreement",
        "erasing",
        "contrast",
    }


@pytest.mark.parametrize("quality", ["anywhere", "whole", "other class"])
@pytest.mark.parametrize("name", ["evidence", "erasing"])
def test_localization_is_preferred(name: str, quality: str):
    """Localization is preferred."""
    assert criteria(candidate(quality="right"))[name] > criteria(candidate(quality=quality))[name] + 0.2
