"""The model card, README.md, of a run on the Hugging Face Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cache.wording import amount
from pipelines.predicting.encoding import encoders_of
from pipelines.run_folder.files import ENCODERS_FILE, METRICS_FILE
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun
from training.checkpoints.checkpoint import State
from training.evaluation.protocol import tiou_key


def model_card(run: Path, recipe: TrainRun, state: State, *, repository: str, weights: bool) -> str:
    """The card: YAML between two lines of dashes, then Markdown. `weights` tells that encoders go with the run."""
    head = ["---", "pipeline_tag: video-classification", "tags:", *(f"- {tag}" for tag in _TAGS), "---", ""]
    parts = [_what(recipe, state), _use(repository), _features(run, state, weights), _scores(run)]
    return "\n".join([*head, f"# {repository.partition('/')[2]}", "", *("\n".join(part) + "\n" for part in parts)])


_TAGS = ("temporal-action-localization", "weakly-supervised", "mllm4wtal")


def _what(recipe: TrainRun, state: State) -> Iterator[str]:
    model = recipe.train.model
    parts = {"KSM": model.use_ksm, "CSR": model.use_csr, "DPID": model.use_dpid, "head": model.use_head}
    used = ", ".join(name for name, on in parts.items() if on)
    yield "Finds when actions happen in untrimmed videos. Trained with video-level labels alone:"
    host = f"host {model.host.kind} {f'with {used}' if used else 'alone'} (MLLM4WTAL)"
    yield f"{host}, {amount(state.step, 'step')}, dataset {_name(recipe)}."
    yield "Neither an MLLM nor text is used at inference; this repository holds the inference part of the model."
    yield ""
    yield f"{amount(len(state.classes), 'class', 'classes')}: {', '.join(map(_plain, state.classes))}."


def _use(repository: str) -> Iterator[str]:
    yield "## Use"
    yield ""
    yield "With the code of MLLM4WTAL:"
    yield ""
    yield f'    make predict ARGS="clip.mp4 --run hf:{repository}"'
    yield ""
    yield "```python"
    yield "from pipelines.predicting.predictor import Predictor"
    yield ""
    yield f'segments = Predictor({json.dumps("hf:" + repository)}).predict("clip.mp4").detections'
    yield "```"


def _features(run: Path, state: State, weights: bool) -> Iterator[str]:
    grid = state.grid
    yield "## Features"
    yield ""
    streams = " + ".join(f"{name} {width}" for name, width in grid.streams.items())
    cut = f"snippets of {grid.snippet_frames} frames every {grid.snippet_stride}, at {grid.fps:g} frames per second"
    yield f"{streams} columns; {cut}."
    if not (run / ENCODERS_FILE).exists():
        yield "The encoders are not recorded, so predictions start from features (.npy), not from videos."
        return
    yield ""
    yield "| stream | encoder | revision or digest |"
    yield "| --- | --- | --- |"
    for name, stream in encoders_of(run).streams.items():
        yield f"| {name} | {_plain(stream.model)} | {_plain(str(stream.revision))} |"
    yield ""
    yield "Their weights are in `encoders/`." if weights else "Their weights are not in this repository."


def _scores(run: Path) -> Iterator[str]:
    yield "## Scores"
    yield ""
    if not (run / METRICS_FILE).exists():
        yield "Not evaluated with ground-truth segments."
        return
    metrics = Metrics.load(run / METRICS_FILE)
    yield f"mAP [%] on {amount(metrics.videos, 'video')} of {_plain(metrics.subset)}; {metrics.protocol.describe()}:"
    yield ""
    yield "| " + " | ".join([*(f"@{tiou_key(tiou)}" for tiou in metrics.tious), "average"]) + " |"
    yield "| " + " | ".join(["---"] * (len(metrics.tious) + 1)) + " |"
    yield "| " + " | ".join(f"{100 * value:.1f}" for value in (*metrics.map, metrics.average)) + " |"


def _name(recipe: TrainRun) -> str:
    return _plain(recipe.dataset.name)


def _plain(text: str) -> str:
    """A text without what Markdown or HTML would take for markup."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in " ".join(text.split()))
