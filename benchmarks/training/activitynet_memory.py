"""Peak memory of `make train` and `make eval` on a dataset of ActivityNet's size, beside that of the model alone.

`make bench-activitynet_memory` generates annotations, features (a few files under many names: what they hold does not
matter) and word embeddings, then trains a few dozen steps with pseudo labels and evaluates, each in a process of its
own. What is limited is anonymous memory (RssAnon), which a process holds for itself; resident memory (RSS) has the
mapped pages of feature files besides, which the system takes back when it needs them. Exits with 1 where either needs
more than 2 GiB beside the model. `--wide` takes the preset's model, which a CPU needs hours for, in place of a narrow
one: the memory that grows with the videos is the same.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cache.annotations import Dataset, Segment, VideoEntry
from cache.features import FeatureGrid, FeatureStore
from cache.recipe import Recipe
from cache.tables.embeddings import TOKENS_TABLE, VOCABULARY_TABLE
from cache.tables.schema import (
    DESCRIPTION_KEY,
    KINDS,
    TOKENS,
    VOCABULARY_KEY,
    TokenRow,
    VocabularyRow,
    vocabulary_schema,
)
from cache.tables.store import PartStore
from pipelines.presets.activitynet import ActivityNet13
from pipelines.run_folder.files import METRICS_FILE, RECIPE_FILE
from pipelines.run_folder.recipe import TrainRun
from training.loop.teacher import copy_for_teaching
from training.model.mllm4wtal import Mllm4Wtal
from training.optimizers import build_optimizers
from training.recipe import TrainRecipe

LIMIT_MIB = 2048.0
GRID = FeatureGrid(streams={"rgb": 1024, "flow": 1024}, fps=25, snippet_frames=16, snippet_stride=16)
LENGTHS = np.linspace(30, 340, 48).astype(int)
"""Snippets of the videos: 185 in the mean, as ActivityNet's at 25 frames a second."""
CLASSES = tuple(f"Action{number:03d}" for number in range(200))
WORDS = 5000
TEXT_WORDS = {"key": 24, "complete": 64}
STEPS = 24


class MadeBy(Recipe):
    """Stands for the recipe of a priors stage."""


def make_dataset(folder: Path, *, training: int, validation: int) -> None:
    """Annotations, features and embeddings."""
    rng = np.random.default_rng(0)
    store = FeatureStore.create(folder / "features", GRID)
    for number, length in enumerate(LENGTHS):
        store.save(f"file{number}", rng.random((length, GRID.width), np.float32))
    entries = []
    for number in range(training + validation):
        label, length = CLASSES[number % len(CLASSES)], LENGTHS[number % len(LENGTHS)]
        name, duration = f"v_{number:06d}", GRID.end_seconds(int(length) - 1)
        os.link(store.path(f"file{number % len(LENGTHS)}"), store.path(name))
        subset = "training" if number < training else "validation"
        segments = (Segment(label, 0.2 * duration, 0.7 * duration),)
        entries.append(VideoEntry(name, subset, duration, (label,), segments, None))
    Dataset("activitynet13", CLASSES, tuple(entries)).save(folder / "annotations.json")
    _make_embeddings(folder / "embeddings", entries[:training], rng)


def _make_embeddings(root: Path, videos: list[VideoEntry], rng: np.random.Generator) -> None:
    schema, words = vocabulary_schema(300), [f"word{number}" for number in range(WORDS)]
    table = PartStore.create(root, MadeBy(), schema, key=VOCABULARY_KEY, table=VOCABULARY_TABLE)
    vectors = rng.normal(size=(WORDS, 300)).astype(np.float32)
    table.append([VocabularyRow(token_id=i, word=word, vector=vectors[i]) for i, word in enumerate(words)])
    tokens = PartStore.create(root, MadeBy(), TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE)
    rows = []
    for video in videos:
        for kind in KINDS:
            ids = tuple(rng.integers(WORDS, size=TEXT_WORDS[kind]).tolist())
            count = len(ids)
            row = TokenRow(
                video_id=video.video_id,
                action_class=video.labels[0],
                kind=kind,
                description_sha256="0",
                tokens=tuple(words[i] for i in ids),
                token_ids=ids,
                known=(True,) * count,
                is_action_word=(True, *(False,) * (count - 1)),
            )
            rows.append(row)
    tokens.append(rows)


def recipe_of(folder: Path, *, wide: bool) -> TrainRun:
    """The preset's training for a few steps, with one set of pseudo labels; narrow unless `wide`."""
    run = ActivityNet13().train()
    changes = {"loop.steps": STEPS, "loop.tensorboard": False, "loop.device": "cpu", "loop.checkpoint_every": 10}
    changes |= {"model.head.pseudo_labels.warmup": 0.5, "model.head.pseudo_labels.refresh": 1.0}
    if not wide:
        changes |= {f"model.{part}.width": 64 for part in ("host", "ksm", "csr", "head")}
        changes["model.host.attention_width"] = 64
    train = run.train.changed(changes)
    return run.model_copy(update={"dataset": folder, "run": folder / "run", "train": train})


@dataclass(frozen=True)
class Peak:
    """The most that a process held, in MiB and in numbers."""

    anonymous: float = 0.0
    resident: float = 0.0
    files: int = 0
    seconds: float = 0.0


def peak_of(arguments: list[str]) -> Peak:
    """Run a Python process to its end, and look at it fifty times a second. Raises CalledProcessError if it fails."""
    started, most = time.monotonic(), Peak()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        home = Path("/proc") / str(process.pid)
        try:
            anonymous, resident = anonymous_and_resident(home)
            files = len(list((home / "fd").iterdir()))
        except (OSError, KeyError):
            continue  # it has just ended
        found = Peak(anonymous, resident, files, time.monotonic() - started)
        most = Peak(*(max(pair) for pair in zip(vars(most).values(), vars(found).values(), strict=True)))
        time.sleep(0.02)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return most


def anonymous_and_resident(home: Path) -> tuple[float, float]:
    """MiB that a process holds for itself, and in all, from its folder in /proc."""
    fields = dict(line.split(":", 1) for line in (home / "status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024, int(fields["VmRSS"].split()[0]) / 1024


def model_alone(recipe: TrainRecipe, *, trains: bool) -> float:
    """MiB that this process holds with the libraries and the model; with average, gradients and optimizers to train."""
    importlib.import_module("pipelines.runs.evaluate")  # as the processes that are measured do
    vectors = torch.zeros(WORDS + 3, 300)
    model = Mllm4Wtal(recipe.model, streams=GRID.streams, num_classes=len(CLASSES), word_vectors=vectors)
    held: list[object] = [model]
    if trains:
        optimizers = build_optimizers(model, recipe.loop)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        for optimizer in optimizers.values():
            optimizer.step()
        held += [optimizers, copy_for_teaching(model), [torch.ones_like(one) for one in model.parameters()]]
    gc.collect()
    anonymous, _ = anonymous_and_resident(Path("/proc/self"))
    assert held
    return anonymous


def main() -> int:
    """Print the figures; 1 where training or evaluation needs more than the limit beside the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", type=int, default=4800, help="videos")
    parser.add_argument("--validation", type=int, default=4900, help="videos")
    parser.add_argument("--wide", action="store_true", help="the preset's model as it is")
    parser.add_argument("--folder", type=Path, help="keep the dataset and the run here")
    parser.add_argument("--alone", choices=("train", "eval"), help="measure the model alone, in this process")
    choice = parser.parse_args()
    if choice.alone:
        recipe = recipe_of(choice.folder, wide=choice.wide).train
        print(json.dumps(model_alone(recipe, trains=choice.alone == "train")))
        return 0
    with tempfile.TemporaryDirectory(prefix="activitynet-") as name:
        folder = choice.folder or Path(name)
        if not (folder / "annotations.json").exists():
            make_dataset(folder, training=choice.training, validation=choice.validation)
        return measure(folder, wide=choice.wide)


def measure(folder: Path, *, wide: bool) -> int:
    """Train and evaluate on the dataset in `folder`."""
    run = recipe_of(folder, wide=wide)
    run.run.mkdir(exist_ok=True)
    (run.run / "wanted.json").write_text(run.model_dump_json())
    train = "import sys; from pathlib import Path; import pipelines.runs.evaluate; from pipelines.runs import train; "
    train += "train.main(train.TrainRun.load(Path(sys.argv[1])))"
    options = ["--dataset", str(folder), "--run", str(run.run)]
    options += ["--protocol", "seconds", "--subset", "validation"]  # activitynet13 counts the videos
    evaluate = ["-m", "pipelines", "eval", "activitynet13", *options]
    commands = {"train": ["-c", train, str(run.run / "wanted.json")], "eval": evaluate}
    heads = ("model alone", "RssAnon", "beside", "RSS", "files", "seconds")
    print(" " * 6 + "".join(f"{head:>12}" for head in heads), " (MiB)", flush=True)
    beside = []
    for name, command in commands.items():
        alone = ["-m", "benchmarks.training.activitynet_memory", "--alone", name, "--folder", str(folder)]
        alone += ["--wide"] if wide else []
        model = json.loads(subprocess.run([sys.executable, *alone], check=True, capture_output=True, text=True).stdout)
        peak = peak_of(command)
        beside.append(peak.anonymous - model)
        figures = (model, peak.anonymous, beside[-1], peak.resident, peak.files, peak.seconds)
        print(f"{name:>6}" + "".join(f"{figure:>12,.0f}" for figure in figures), flush=True)
    assert (run.run / RECIPE_FILE).exists()
    assert (run.run / METRICS_FILE).exists()
    verdict = "ok" if max(beside) <= LIMIT_MIB else "missed"
    print(f"anonymous memory beside the model: {max(beside):.0f} MiB, wanted at most {LIMIT_MIB:.0f} MiB: {verdict}")
    return 0 if max(beside) <= LIMIT_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
