"""Everything of training/ that a GPU could do otherwise, checked on one: `benchmarks/cuda/check.sh` runs this.

Tests run first, those of devices and precision before the rest, then a short training of the full model is timed. The
summary goes to the terminal and to `--output`; the exit status is 1 where a test or the training failed. It needs no
torch newer than 2.11 and neither transformers nor a video.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch

from cache.annotations import Dataset, VideoEntry
from cache.features import FeatureGrid, FeatureStore
from cache.tables.embeddings import PriorText, PriorTexts
from training.batches.data import DataRecipe, WtalData
from training.hosts.delu import DeluRecipe
from training.loop.fit import fit
from training.model.mllm4wtal import ModelRecipe
from training.optimizers import LoopRecipe
from training.recipe import TrainRecipe

ROOT = Path(__file__).parents[2]
TESTS = (
    "nn/test_devices", "nn/test_precision", "hosts/test_hosts", "hosts/test_hosts_training", "model/test_mllm4wtal",
    "model/test_localization_head", "loop/test_fit", "hosts/test_parity", "model/test_csr", "model/test_ksm",
    "nn/test_losses", "model/test_distillation", "model/test_pseudo_labels", "test_inference", "batches/test_prefetch",
    "nn/test_device_paths", "loop/test_trainer", "checkpoints/test_folder",
)  # fmt: skip
"""Files below tests/training; one that is not there is said to be missing."""
GPU = torch.cuda.is_available()
CLASSES = tuple(f"class_{number:02d}" for number in range(20))


class Summary:
    """Lines for the terminal and the file."""

    def __init__(self, path: Path) -> None:
        self.path, self.failed = path, False
        path.write_text("")

    def say(self, line: str, *, failed: bool = False) -> None:
        """One more line; `failed` decides the exit status."""
        self.failed |= failed
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


def run_tests(summary: Summary, name: str, folder: Path) -> None:
    """One file of tests in a process of its own."""
    path, report = ROOT / "tests" / "training" / f"{name}.py", folder / f"{name.replace('/', '-')}.xml"
    if not path.exists():
        summary.say(f"{name:28} MISSING: {path.name} is not there", failed=True)
        return
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", str(path)]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if not report.exists():
        summary.say(f"{name:28} DID NOT RUN\n{done.stdout[-3000:]}{done.stderr[-3000:]}", failed=True)
        return
    cases = list(ElementTree.parse(report).iter("testcase"))
    marks = {kind: [case for case in cases if case.find(kind) is not None] for kind in ("failure", "error", "skipped")}
    bad = marks["failure"] + marks["error"]
    passed = len(cases) - len(bad) - len(marks["skipped"])
    counts = f"{passed} passed, {len(bad)} failed, {len(marks['skipped'])} skipped"
    summary.say(f"{name:28} {counts} in {seconds:.0f} s", failed=bool(bad) or done.returncode not in (0, 5))
    for case in bad:
        found = case.find("failure")
        found = case.find("error") if found is None else found
        message = "" if found is None else (found.get("message") or "").splitlines()[0]
        summary.say(f"    FAILED {case.get('name')}: {message[:200]}")
    for reason in sorted({case.find("skipped").get("message", "") for case in marks["skipped"]}):  # pyright: ignore[reportOptionalMemberAccess]
        summary.say(f"    skipped: {reason}")


def draw(folder: Path, *, videos: int, snippets: int, width: int) -> tuple[Dataset, FeatureStore, PriorTexts]:
    """Features and descriptions of chance, one class a video."""
    rng = np.random.default_rng(0)
    names = [f"v{number}" for number in range(videos)]
    labels = {name: CLASSES[number % len(CLASSES)] for number, name in enumerate(names)}
    dataset = Dataset(
        "drawn", CLASSES, tuple(VideoEntry(name, "training", None, (labels[name],), (), None) for name in names)
    )
    grid = FeatureGrid(streams={"rgb": width, "flow": width}, fps=25, snippet_frames=16, snippet_stride=16)
    store = FeatureStore.create(folder, grid)
    for name in names:
        store.save(name, np.abs(rng.standard_normal((snippets, 2 * width), dtype=np.float32)))
    words = tuple(f"word{number}" for number in range(400))
    rows = {}
    for name in names:
        for kind, count in (("key", 12), ("complete", 40)):
            ids = rng.integers(len(words), size=count)
            text = PriorText(tuple(words[k] for k in ids), ids, np.arange(count) % 4 == 0, np.ones(count, bool))
            rows[name, labels[name], kind] = text
    return dataset, store, PriorTexts(words, rng.standard_normal((len(words), 300), dtype=np.float32), rows)


def time_training(summary: Summary, folder: Path, *, precision: str, steps: int) -> None:
    """The full model on DELU, at the sizes of THUMOS14 on a GPU and at toy sizes without one."""
    width, snippets = (1024, 600) if GPU else (16, 60)
    dataset, store, texts = draw(folder / "features", videos=40, snippets=snippets, width=width)
    recipe = TrainRecipe(
        data=DataRecipe() if GPU else DataRecipe(num_snippets=32),
        model=ModelRecipe(host=DeluRecipe()),
        loop=LoopRecipe.model_validate({"steps": steps, "precision": precision, "log_every": 1, "tensorboard": False}),
    )
    data = WtalData(dataset, store, texts, recipe=recipe.data, seed=recipe.seed)
    ticks: list[float] = []

    def progress(step: int, total: int, terms: Mapping[str, float]) -> None:
        ticks.append(time.perf_counter())

    fit(data, recipe, run=folder / f"run-{precision}", progress=progress)
    first = len(ticks) // 4
    rate = (len(ticks) - 1 - first) / (ticks[-1] - ticks[first])
    peak = f", peak memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if GPU else ""
    size = f"{recipe.data.num_snippets} snippets of {2 * width}"
    summary.say(f"training {precision:5} {steps} steps, {size}: {rate:.1f} steps/s{peak}")


def main(output: Path, steps: int, tests: Sequence[str]) -> int:
    """1 where anything failed."""
    summary = Summary(output)
    device = torch.cuda.get_device_name() if GPU else "NO CUDA DEVICE: nothing below was checked on one"
    summary.say(f"device               {device}")
    summary.say(f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}")
    with tempfile.TemporaryDirectory() as place:
        for name in tests:
            run_tests(summary, name, Path(place))
        for precision in ("no", "bf16"):
            try:
                time_training(summary, Path(place), precision=precision, steps=steps)
            except Exception as error:
                summary.say(f"training {precision:5} FAILED: {type(error).__name__}: {error}", failed=True)
    summary.say("FAILED" if summary.failed else "all passed" if GPU else "all passed, WITHOUT CUDA")
    return int(summary.failed)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("cuda_check.txt"))
    parser.add_argument("--steps", type=int, default=200 if GPU else 8)
    parser.add_argument("--tests", nargs="*", default=TESTS)
    arguments = parser.parse_args()
    sys.exit(main(arguments.output, arguments.steps, arguments.tests))
