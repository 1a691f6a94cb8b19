"""One worker of a search: the trainings of a trial as far as they are missing, then its scores."""

from __future__ import annotations

import sys

from cache.files.lock import hold
from pipelines.console import guarded, say
from pipelines.experiments.cell import work
from pipelines.runs import train
from pipelines.tuning.judge import judge
from pipelines.tuning.recipe import TrialRun
from training.checkpoints.checkpoint import TRAINING_FILE
from training.checkpoints.folder import drop_training_state, is_finished


def main(recipe: TrialRun) -> None:
    """Train and score; finished work is not repeated."""
    recipe.folder.mkdir(parents=True, exist_ok=True)
    with hold(recipe.folder, wait=True):
        for fold in recipe.folds:
            if not is_finished(fold.run):
                train.main(fold)
            drop_training_state(fold.run, TRAINING_FILE)
        if not recipe.file.exists():
            judge(recipe).save(recipe.file)
    say("done")


if __name__ == "__main__":
    sys.exit(guarded(lambda: work(TrialRun, main)))
