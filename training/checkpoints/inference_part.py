"""The inference part of a checkpoint as a checkpoint of its own: weights of host, class queries and head alone."""

import json
from dataclasses import replace
from pathlib import Path

from training.checkpoints.checkpoint import as_json, load_trained, save_weights, weights_file
from training.checkpoints.folder import STATE_FILE, sizes, write_checkpoint


def save_inference_part(checkpoint: Path, run: Path) -> Path:
    """Write what inference reads of a checkpoint as the checkpoint of the run `run`, and return its folder.

    Neither optimizer nor texts go with it: text tower, CSR, word vectors and their vocabulary are left out. Raises
    `TrainingError` if files are missing or hold another model.
    """
    trained = load_trained(checkpoint)
    state = replace(trained.state, words=(), means={})

    def write(folder: Path) -> None:
        save_weights(trained.model, folder / weights_file(state))
        document = as_json(state) | {"files": sizes(folder)}
        (folder / STATE_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    return write_checkpoint(run, state.step, write)
