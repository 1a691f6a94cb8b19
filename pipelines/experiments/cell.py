"""One worker: trains a run (a row with a seed) and evaluates it, as far as this is missing.

It reads its task from the first line of its standard input and ends when that is closed, so a worker never outlives
the command that started it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from cache.errors import CacheError
from cache.files.lock import hold
from cache.recipe import Recipe
from pipelines.console import guarded, say
from pipelines.experiments.grid import CellRun
from pipelines.runs import evaluate, train
from training.checkpoints.checkpoint import TRAINING_FILE
from training.checkpoints.folder import drop_training_state

R = TypeVar("R", bound=Recipe)
_PATIENCE = 20.0
"""Seconds in which the training may write its checkpoint after the command has ended."""


def main(recipe: CellRun) -> None:
    """Train and evaluate. If another worker has the same run, wait for it; its finished work is not repeated.

    Raises CacheError if a subset has no segments.
    """
    run = recipe.train.run
    run.mkdir(parents=True, exist_ok=True)
    with hold(run, wait=True):
        if not recipe.trained:
            train.main(recipe.train)
        # The optimizer's state is one or two times as large as the weights and not needed any more.
        drop_training_state(run, TRAINING_FILE)
        for one in reversed(recipe.missing):
            if evaluate.evaluate(one) is None:
                raise CacheError(
                    f"subset {one.subset!r}: found no segments, expected the ground truth to evaluate with"
                )
    say("done")


def work(kind: type[R], main: Callable[[R], None]) -> None:
    """Read the task from standard input and do it; used by every kind of worker."""
    recipe = kind.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    main(recipe)


def _end_with_input() -> None:
    # Not through sys.stdin: the process would crash at its end if a thread still waits in its buffer.
    while os.read(0, 1024):
        pass
    # on SIGTERM a training writes its checkpoint; SIGINT is ignored in background jobs of a shell
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(guarded(lambda: work(CellRun, main)))
