"""How fast the embeddings of 10,000 descriptions are made and read, and how large they are.

`python -m benchmarks embeddings [--descriptions 10000] [--folder cache/data/benchmark]` makes such a cache through the
stage's own writers, prints a table and exits with 1 if a figure misses what is wanted. Times are the best of several.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from cache.recipe import Recipe
from cache.tables.embeddings import TOKENS_TABLE, VOCABULARY_TABLE, PriorTexts, load_prior_texts
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, Description
from cache.tables.store import PartStore
from cache.tables.video_texts import VideoTexts, video_texts
from priors.words.embed import EmbedSummary, embed
from priors.words.glove import GloveRecipe, WordVectors

WIDTH, WORDS_A_TEXT, TEXTS_A_VIDEO, VOCABULARY = 300, 60, 4, 20_000
TIMES = 7


@dataclass(frozen=True)
class Row:
    """One figure."""

    what: str
    measured: float
    unit: str
    wanted: float | None = None
    """At most; None is for information."""

    @property
    def verdict(self) -> str:
        """ok, MISSED or nothing."""
        return "" if self.wanted is None else "ok" if self.measured <= self.wanted else "MISSED"


class _Made(Recipe):
    """The recipe of the benchmark's descriptions."""

    descriptions: int


def make_vectors(folder: Path) -> WordVectors:
    """Random vectors of twice as many words as the texts use, the more frequent first, as in GloVe's files."""
    rng = np.random.default_rng(0)
    path = folder / "vectors.bin"
    with path.open("wb") as file:
        file.write(f"{2 * VOCABULARY} {WIDTH}\n".encode())
        for row, vector in enumerate(rng.normal(size=(2 * VOCABULARY, WIDTH)).astype("<f4")):
            file.write(f"{_word(row)} ".encode() + vector.tobytes() + b"\n")
    return WordVectors.load(GloveRecipe(path=path))


def _word(row: int) -> str:
    return "".join(chr(ord("a") + row // 26**place % 26) for place in range(4))


def describe(root: Path, count: int) -> PartStore:
    """Descriptions of words that are as frequent as in a language (Zipf)."""
    rng = np.random.default_rng(1)
    chance = 1 / np.arange(1, VOCABULARY + 1)
    row = Description(
        video_id="", action_class="", kind="key", prompt="Describe it.", description="", status="ok", error=None,
        model_id="canned", model_revision="1", generation="{}", frame_seconds=(0.5, 1.5), duration=2.0,
        video_bytes=1000, video_stamp="00", prompt_tokens=10, new_tokens=80, finish_reason="eos", flags=(),
        partial=False, attempt=1, made_by="{}", created_at=datetime(2024, 5, 17, tzinfo=UTC),
    )  # fmt: skip
    store = PartStore.create(root, _Made(descriptions=count), DESCRIPTIONS, key=DESCRIPTION_KEY)
    rows = []
    for number in range(count):
        words = rng.choice(VOCABULARY, WORDS_A_TEXT, p=chance / chance.sum())
        rows.append(
            replace(
                row,
                video_id=f"video_{number // TEXTS_A_VIDEO:07d}",
                action_class=f"Class {number // 2 % 2}",
                kind=("key", "complete")[number % 2],
                description=" ".join(map(_word, words.tolist())),
            )
        )
    for start in range(0, count, 1000):
        store.append(rows[start : start + 1000])
    return store


def best(work: Callable[[], object], *, before: Callable[[], object] = lambda: None, times: int = TIMES) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(times):
        before()
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def make_cold(folder: Path) -> None:
    """Drop the files of a folder from the page cache, so that the next read comes from the disk."""
    for path in folder.rglob("*.parquet"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def gather(texts: PriorTexts) -> int:
    """The vectors of every description, one after the other; returns how many words had one."""
    return sum(len(texts.vectors[text.word_ids]) for text in texts.rows.values())


def megabytes(folder: Path) -> float:
    """Size of all parts."""
    return sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 1e6


def measure(folder: Path, count: int) -> list[Row]:
    """All figures."""
    store, vectors = describe(folder / "descriptions", count), make_vectors(folder)
    made: list[EmbedSummary] = []

    def run() -> None:
        made.append(embed(store, vectors, folder / "embeddings"))

    seconds, again = best(run, times=1), best(run, times=3)
    assert (made[0].embedded, made[-1].embedded) == (count, 0)
    home, scale = made[0].folder, count / 10_000
    texts = load_prior_texts(home)
    reader = VideoTexts(home)
    videos = iter(np.random.default_rng(2).permutation(count // TEXTS_A_VIDEO).tolist() * TIMES)

    def one_video() -> None:
        assert gather(reader.read(f"video_{next(videos):07d}")) == TEXTS_A_VIDEO * WORDS_A_TEXT

    def cold() -> None:
        make_cold(home)

    return [
        Row("make the embeddings", seconds, "s"),
        Row("again, with nothing to do", again, "s"),
        Row("load ids and vocabulary", best(lambda: load_prior_texts(home)), "s", 0.2 * scale),
        Row("gather all vectors", best(lambda: gather(texts)), "s", 1.5 * scale),
        Row("one video, cold, words held", 1e3 * best(one_video, before=cold), "ms", 15),
        Row(
            "one video, cold, words read too", 1e3 * best(lambda: video_texts(home, "video_0000001"), before=cold), "ms"
        ),
        Row("size of tokens/", megabytes(home / TOKENS_TABLE), "MB", 3 * scale),
        Row("size of vocabulary/", megabytes(home / VOCABULARY_TABLE), "MB", 25 * scale),
    ]


def print_table(rows: Sequence[Row]) -> int:
    """Print the figures; 1 if one is missed."""
    print(f"{'':32} {'measured':>12} {'wanted':>12}")
    for row in rows:
        wanted = "" if row.wanted is None else f"< {row.wanted:.3g} {row.unit}"
        print(f"{row.what:32} {f'{row.measured:.3g} {row.unit}':>12} {wanted:>12} {row.verdict}")
    return int(any(row.verdict == "MISSED" for row in rows))


def main() -> int:
    """Make, measure, print, and clear away."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--descriptions", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where the cache is made and left; a temporary one by default")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="embeddings-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return print_table(measure(folder, options.descriptions))
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
