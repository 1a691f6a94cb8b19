"""How long the model waits, and what the stage costs beside it.

`python -m benchmarks idle [--seconds 80]` prints a table and exits with 1 if a figure misses what is wanted. The model
of the first part is a describer that sleeps, so it leaves the processor free as a GPU would; decoding takes 40 % of its
time. The others are real ones whose bare calls are `generate`: the demo's VideoLLaMA3, which is so small that decoding
and preparing take about as long on the same cores, and one of 20 times its size, whose weights are random. Not for a
busy machine: what others do while the bare calls are timed, or while they are not, counts.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.priors.canned import RECIPE, SETTINGS, FixedLatency
from cache.annotations import Dataset, VideoEntry
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.tables.store import PartStore
from priors.describers.choice import make_describer
from priors.describers.protocol import Describer, Failure, Prepared, Reply, Request
from priors.describers.recipe import DescriberRecipe
from priors.pretrained.torchvision_cpu import make_torchvision_importable
from priors.run.generate import LocalEngine, Summary, generate
from priors.run.recipe import DescriptionRecipe, PromptsRecipe, RunRecipe
from priors.video.decode_pool import DecodeRecipe
from priors.video.decoding import decode
from priors.video.frames import FramesRecipe
from priors.words.embed import embed
from priors.words.glove import GloveRecipe, WordVectors
from tests.support.videos.videos import write_video

DECODE_SHARE = 0.4
CLIP_FRAMES = 2000  # 80 s
IDLE_WANTED, OVERHEAD_WANTED = 0.05, 0.05
_WIDE = {"hidden_size": 512, "intermediate_size": 1536, "num_attention_heads": 8, "num_key_value_heads": 4}
_DEEP = 8
DEMO = Path("pipelines/demo/checkpoints")


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    measured: float
    """A share."""
    wanted: float | None = None
    """At most; None where the figure is for comparison."""

    @property
    def missed(self) -> bool:
        """Whether it is more than wanted."""
        return self.wanted is not None and self.measured > self.wanted

    def __str__(self) -> str:
        wanted = "" if self.wanted is None else f"<= {self.wanted:.0%}"
        verdict = "" if self.wanted is None else "missed" if self.missed else "ok"
        return f"{self.name:<72}{self.measured:>9.1%}{wanted:>10}{verdict:>8}"


class Timed:
    """A describer that keeps what it was given, and how long it took."""

    def __init__(self, describer: Describer) -> None:
        self.model_id, self.model_revision = describer.model_id, describer.model_revision
        self._describer = describer
        self.batches: list[Prepared] = []

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """As the describer does."""
        return self._describer.prepare(requests)

    def describe(self, prepared: Prepared) -> list[Reply | Failure]:
        """As the describer does; the batch is kept."""
        self.batches.append(prepared)
        return self._describer.describe(prepared)

    def again(self) -> float:
        """Seconds that the bare calls take for the same batches."""
        started = time.monotonic()
        for prepared in self.batches:
            self._describer.describe(prepared)
        return time.monotonic() - started


def make_dataset(folder: Path, videos: int, frames: int) -> Dataset:
    """Twelve different clips under many names, one class each."""
    clips = [write_video(folder / f"clip{number}.mp4", frames - number) for number in range(12)]
    entries = []
    for number in range(videos):
        path = folder / "videos" / f"v{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        os.link(clips[number % 12], path)
        entries.append(VideoEntry(path.stem, "training", None, ("Dive",), (), path))
    return Dataset("pool", ("Dive",), tuple(entries))


def stage(
    root: Path, dataset: Dataset, describer: Describer, settings: DescriberRecipe, recipe: DescriptionRecipe
) -> tuple[float, Summary]:
    """Seconds of the whole stage (plan, decode, batch, describe, write, merge, embed), and what it says of itself."""
    run = RunRecipe(decode=DecodeRecipe(workers=2))
    vectors = WordVectors.load(GloveRecipe(path=DEMO / "words.txt"))
    started = time.monotonic()
    store = PartStore.create(root / "descriptions", recipe, DESCRIPTIONS, key=DESCRIPTION_KEY)
    engine = LocalEngine(lambda: describer, recipe, settings, run)
    summary = generate(dataset, "training", store, engine, run)
    embed(store, vectors, root / "embeddings")
    return time.monotonic() - started, summary


def without_decoding_ahead(dataset: Dataset, describer: Describer) -> float:
    """Share of the time in which the model waits if every batch is decoded when its turn comes."""
    size = SETTINGS.batch_size
    waited = described = 0.0
    for start in range(0, len(dataset.videos), size):
        before = time.monotonic()
        found = [decode(entry.path, RECIPE.frames) for entry in dataset.videos[start : start + size]]
        requests = [Request(one.frames, "What?", 32) for one in found if one.frames is not None]
        between = time.monotonic()
        for _ in range(2):  # the two kinds of description
            describer.describe(describer.prepare(requests))
        waited += between - before
        described += time.monotonic() - between
    return waited / (waited + described)


def fixed_latency(folder: Path, length: float) -> list[Figure]:
    """A model that takes a known time, and decoding that takes 40 % of it; the model works for `length` seconds."""
    (folder / "some").mkdir()
    some = make_dataset(folder / "some", 12, CLIP_FRAMES)
    seconds = statistics.median(decode(entry.path, RECIPE.frames).seconds for entry in some.videos)
    latency = SETTINGS.batch_size * seconds / DECODE_SHARE / 2  # two batches, one of each kind, are as many videos
    model = Timed(FixedLatency(latency))
    dataset = make_dataset(folder, SETTINGS.batch_size * math.ceil(length / latency / 2), CLIP_FRAMES)
    print(f"decoding {seconds * 1000:.0f} ms a video; a batch of {SETTINGS.batch_size} takes {latency * 1000:.0f} ms")
    wall, summary = stage(folder, dataset, model, SETTINGS, RECIPE)
    bare = model.again()
    print(f"{len(dataset.videos)} videos in {wall:.1f} s, of which {bare:.1f} s are the model's")
    ahead = dataset.videos[: 12 * SETTINGS.batch_size]
    alone = without_decoding_ahead(Dataset("some", ("Dive",), ahead), model)
    return [
        Figure(
            "model idle, decoding ahead with 2 workers (their start included)", summary.progress.waiting, IDLE_WANTED
        ),
        Figure("model idle, each batch decoded in its turn", alone),
        Figure("whole stage beyond the bare describe calls, fixed latency", wall / bare - 1, OVERHEAD_WANTED),
    ]


def larger(folder: Path) -> Path:
    """A checkpoint of the demo's architecture with more and wider layers, untrained: it writes up to the limit."""
    make_torchvision_importable()
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    shutil.copytree(DEMO / "describer", folder)
    config = AutoConfig.from_pretrained(folder)
    for name, value in {**_WIDE, "num_hidden_layers": _DEEP, "layer_types": ["full_attention"] * _DEEP}.items():
        setattr(config.text_config, name, value)
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    return folder


def real_model(folder: Path, model: Path, name: str, videos: int, wanted: float | None) -> list[Figure]:
    """A VideoLLaMA3 on the cores that also decode."""
    settings = DescriberRecipe(model=str(model), batch_size=16, device_map="cpu")
    recipe = DescriptionRecipe.of(settings, FramesRecipe(), PromptsRecipe())
    describer = Timed(make_describer(settings))
    warm = make_dataset(folder / "warm", 16, 40)
    stage(folder / "warm", warm, describer, settings, recipe)
    describer.batches.clear()
    wall, summary = stage(folder, make_dataset(folder, videos, 40), describer, settings, recipe)
    bare = describer.again()
    print(f"{name}: {videos} videos in {wall:.1f} s, of which {bare:.1f} s are the model's")
    return [
        Figure(f"model idle, {name}", summary.progress.waiting),
        Figure(f"whole stage beyond the bare generate calls, {name}", wall / bare - 1, wanted),
    ]


def main() -> int:
    """Print the figures; 1 if one misses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=80.0, help="that the model works, at least")
    choice = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="idle-") as name:
        folder = Path(name)
        figures = fixed_latency(folder, choice.seconds)
        figures += real_model(folder / "large", larger(folder / "model"), "26 M parameters", 64, OVERHEAD_WANTED)
        figures += real_model(folder / "tiny", DEMO / "describer", "1.2 M parameters", 320, None)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<72}{'measured':>9}{'wanted':>10}{'verdict':>8}")
    for figure in figures:
        print(figure)
    return 1 if any(figure.missed for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
