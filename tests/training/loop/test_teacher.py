"""The teacher's warning about pseudo segments that do not fit the head's pyramid."""

from pathlib import Path

import pytest
import torch

from tests.support.data.toy_data import tiny_recipe, toy_training_data
from training.loop.teacher import warn_of_long_segments
from training.loop.trainer import Trainer
from training.model.localization_head import HeadRecipe
from training.model.pseudo_labels import PseudoSegments


def of_lengths(*lengths: float) -> PseudoSegments:
    """A video with pseudo segments of these lengths."""
    size = torch.tensor(lengths, dtype=torch.float32)
    return PseudoSegments(
        torch.full_like(size, 3.0), 3 + size, torch.zeros(len(size), dtype=torch.int64), torch.ones_like(size)
    )


@pytest.mark.parametrize(("levels", "reach", "needed"), [(2, 2.0, 7), (6, 2.0, 7), (3, 4.0, 6)])
def test_long_segments_are_warned_of(levels: int, reach: float, needed: int, caplog: pytest.LogCaptureFixture) -> None:
    """How many, of how many, and as many levels as the pyramid needs to reach from their centre to their bounds."""
    pseudo = {"a": of_lengths(5, 200, 220), "b": of_lengths(), "c": of_lengths(4)}
    recipe = HeadRecipe(levels=levels, reach=reach)
    warn_of_long_segments(pseudo, recipe)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("model.head.levels: 2 of 4 pseudo segments are longer")
    assert message.endswith(f"use {needed}")
    caplog.clear()
    warn_of_long_segments(pseudo, recipe.model_copy(update={"levels": needed}))
    assert not caplog.records


def test_a_few_are_not(caplog: pytest.LogCaptureFixture) -> None:
    """One of thirty, and no segment at all."""
    warn_of_long_segments({"a": of_lengths(*[5.0] * 29, 900.0)}, HeadRecipe(levels=2))
    warn_of_long_segments({"a": of_lengths()}, HeadRecipe(levels=2))
    assert not caplog.records


def test_training_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the first pseudo segments, and not again with those that replace them."""
    recipe = tiny_recipe(head={"levels": 1, "reach": 2.0, "pseudo_labels": {"warmup": 0.0, "refresh": 0.2}})
    trainer = Trainer(toy_training_data(tmp_path), recipe, run=tmp_path / "run")
    for _ in range(5):
        trainer.advance()
    assert sum("model.head.levels" in record.getMessage() for record in caplog.records) == 1
