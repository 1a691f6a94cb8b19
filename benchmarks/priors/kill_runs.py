"""The runs that `benchmarks.priors.kill` disturbs: what they describe, what one of them is, and what it has written."""

from __future__ import annotations

import functools
import os
import random
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.priors.canned import RECIPE, SETTINGS, load
from cache.annotations import Dataset, VideoEntry
from cache.tables.embeddings import TOKENS_TABLE, VOCABULARY_TABLE, open_tokens, read_words
from cache.tables.folders import only_fingerprint
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, VOCABULARY_KEY, vocabulary_schema
from cache.tables.store import PartStore
from priors.run.generate import Engine, LocalEngine, generate
from priors.run.recipe import RayRecipe, RunRecipe
from priors.video.decode_pool import DecodeRecipe
from priors.words.embed import embed
from priors.words.glove import GloveRecipe, WordVectors
from tests.support.videos.videos import cut, write_video

EngineName = Literal["local", "ray", "cluster"]
LATENCY = 0.4
"""Seconds a batch."""
WORDS = Path("pipelines/demo/checkpoints/words.txt")
DESCRIBED, MADE = "described", "made"
"""Beside the store: a file that says that all is described, and the folder that keeps the parts."""


def make_dataset(folder: Path, videos: int) -> Dataset:
    """Short clips of 8 kinds under many names, and some that cannot be read."""
    clips = [write_video(folder / f"clip{number}.mp4", 10 + 5 * number) for number in range(8)]
    empty, garbage = folder / "empty.mp4", folder / "garbage.mp4"
    empty.write_bytes(b"")
    garbage.write_bytes(random.Random(0).randbytes(5000))
    bad = [empty, garbage, cut(write_video(folder / "long.mp4", 300, container={"movflags": "faststart"}), 0.6)]
    entries = []
    for number in range(videos):
        source = bad[number // 10 % 3] if number % 10 == 7 else clips[number % 8]
        path = folder / "videos" / f"v{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        os.link(source, path)
        entries.append(VideoEntry(f"v{number}", "training", None, ("Dive",), (), path))
    dataset = Dataset("pool", ("Dive",), tuple(entries))
    dataset.save(folder / "annotations.json")
    return dataset


def make_engine(name: EngineName, address: str | None, latency: float) -> tuple[Engine, RunRecipe]:
    """The engine of a run that is killed, with small units and frequent writes."""
    run = RunRecipe(
        decode=DecodeRecipe(workers=2),
        write_seconds=0.5,
        ray=RayRecipe(address=address, replicas=2, videos_per_unit=3),
    )
    model = functools.partial(load, seconds=latency)
    if name == "local":
        return LocalEngine(lambda: model(SETTINGS), RECIPE, SETTINGS, run), run
    from priors.run.ray_engine import RayEngine

    return RayEngine(SETTINGS, RECIPE, run, load=model), run


class Kept(PartStore):
    """Says when all is described, and keeps the parts as they were written, to see what was made twice."""

    def compact(self) -> int:
        """Merge parts, when they are kept elsewhere."""
        root = self.home.parent
        (root / MADE).mkdir(exist_ok=True)
        for part in self.folder.glob("part-*"):
            if not (root / MADE / part.name).exists():
                os.link(part, root / MADE / part.name)
        (root / DESCRIBED).touch()
        return super().compact()


def open_parts(root: Path) -> PartStore:
    """The store of descriptions at `root`."""
    return Kept.create(root, RECIPE, DESCRIPTIONS, key=DESCRIPTION_KEY)


def describe_and_embed(
    folder: Path, root: Path, name: EngineName, address: str | None = None, latency: float = 0.0
) -> None:
    """One run, to its end."""
    (root / DESCRIBED).unlink(missing_ok=True)
    store = open_parts(root)
    engine, run = make_engine(name, address, latency)
    generate(Dataset.load(folder / "annotations.json"), "training", store, engine, run)
    embed(store, WordVectors.load(GloveRecipe(path=WORDS)), root / "embeddings")


def tables(root: Path) -> list[tuple[str, pa.Table]]:
    """All that a run writes, but for when and where it was made."""
    words, descriptions = only_fingerprint(root / "embeddings", made_by="this"), open_parts(root)
    names = [name for name in descriptions.schema.names if name not in ("created_at", "made_by")]
    schema = vocabulary_schema(read_words(words).vectors.shape[1])
    vocabulary = PartStore.open(words, schema, key=VOCABULARY_KEY, table=VOCABULARY_TABLE)
    return [
        ("descriptions", descriptions.table(names)),
        (TOKENS_TABLE, open_tokens(words).table()),
        (VOCABULARY_TABLE, vocabulary.table()),
    ]


def twice(folder: Path) -> int:
    """Keys that were made more than once: parts that were merged hold the same rows, made at the same time."""
    made: dict[tuple, set] = {}
    for part in folder.glob("part-*"):
        for row in pq.ParquetFile(part).read([*DESCRIPTION_KEY, "status", "created_at"]).to_pylist():
            if row["status"] == "ok":
                made.setdefault(tuple(row[name] for name in DESCRIPTION_KEY), set()).add(row["created_at"])
    return sum(len(times) > 1 for times in made.values())
