"""One worker: trains a cell and takes its scores, as far as they are missing.

It reads what to do from the first line of its standard input, and ends when that is closed: so a worker never outlives
the table that it works for, however that ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from cache.errors import CacheError
from cache.files.lock import hold
from pipelines.console import guarded, say
from pipelines.experiments.grid import CellRun
from pipelines.runs import evaluate, train
from training.checkpoints.checkpoint import TRAINING_FILE
from training.checkpoints.folder import drop_training_state

_PATIENCE = 20.0
"""Seconds in which a training whose table has ended may write its checkpoint."""


def main(recipe: CellRun) -> None:
    """Train and score. Another worker at the same cell is waited for; what it has done is not done again.

    Raises CacheError where a subset has no segments to score with.
    """
    run = recipe.train.run
    run.mkdir(parents=True, exist_ok=True)
    with hold(run, wait=True):
        if not recipe.trained:
            train.main(recipe.train)
        # The state to resume from is as large as the weights, or twice that, and of no more use.
        drop_training_state(run, TRAINING_FILE)
        for one in reversed(recipe.missing):
            if evaluate.evaluate(one) is None:
                raise CacheError(f"subset {one.subset!r}: found no segments, expected those that scores are made from")
    say("done")


def _work() -> None:
    recipe = CellRun.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    main(recipe)


def _end_with_input() -> None:
    # Not through sys.stdin: a thread that waits in its buffer when the process ends lets it crash.
    while os.read(0, 1024):
        pass
    # a training writes its checkpoint; not SIGINT, which is ignored in a job that a shell put into the background
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(guarded(_work))
