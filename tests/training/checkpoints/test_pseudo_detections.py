"""Pseudo segments of a checkpoint in seconds."""

from pathlib import Path

import pytest

from tests.support.data.toy_data import GRID, tiny_recipe, toy_training_data
from training.checkpoints.pseudo_detections import pseudo_detections
from training.errors import TrainingError
from training.loop.trainer import Trainer


def trained(folder: Path, steps: int, **model: object) -> Trainer:
    """A trainer that has saved after so many steps, in `folder`/run."""
    trainer = Trainer(toy_training_data(folder / "features"), tiny_recipe(**model), run=folder / "run")
    for _ in range(steps):
        trainer.advance()
    trainer.save({})
    return trainer


def test_every_pseudo_segment_is_a_detection(tmp_path: Path) -> None:
    """Its class, its weight as score, and its bounds in seconds; also of videos that have none."""
    trainer = trained(tmp_path, 5)
    assert trainer.pseudo is not None
    expected = []
    for video, one in trainer.pseudo.items():
        for start, end, label, weight in zip(
            *(getattr(one, x) for x in ("start", "end", "label", "weight")), strict=True
        ):
            seconds = [float(GRID.boundary_seconds(bound.double().numpy())) for bound in (start, end)]
            expected.append((video, trainer.data.classes[label], weight.item(), *seconds))
    found = pseudo_detections(tmp_path / "run")
    rows = [
        (found.videos[video], found.labels[label], score, *segment)
        for video, label, score, segment in zip(
            found.video, found.label, found.score.tolist(), found.segments.tolist(), strict=True
        )
    ]
    assert len(rows) > len(trainer.pseudo) / 2
    for row, other in zip(rows, expected, strict=True):
        assert row[:2] == other[:2]
        assert row[2:] == pytest.approx(other[2:])
    assert set(found.videos) == set(trainer.data.video_ids)


@pytest.mark.parametrize(("steps", "use_head"), [(1, True), (5, False)])
def test_a_run_without_any_is_refused(tmp_path: Path, steps: int, use_head: bool) -> None:
    """Before the head's warm-up has ended, and without a head."""
    trained(tmp_path, steps, use_head=use_head)
    with pytest.raises(TrainingError, match=r"found no pseudo segments, expected those of a localization head"):
        pseudo_detections(tmp_path / "run")


def test_nothing_was_trained(tmp_path: Path) -> None:
    """A folder without checkpoint is named."""
    with pytest.raises(TrainingError, match="found no checkpoint"):
        pseudo_detections(tmp_path)
