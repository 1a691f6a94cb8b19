"""How fast word vectors of GloVe's size are converted and loaded, in how much memory, and how fast texts are cut.

`python -m benchmarks words [--words 400000] [--folder DIR]` writes a text of that many vectors of 300 numbers (1 GB at
400,000), loads it in fresh processes, prints a table and exits with 1 if a figure misses what is wanted.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.priors.embeddings import Row, best, print_table
from priors.words.action_words import is_action_word
from priors.words.tokens import tokenize

WIDTH = 300
TEXT = (
    "The athlete takes a short run-up, swings both arms and jumps high into the sand pit; then he gets up, doesn't "
    "look back, raises his hands and bows to the crowd. "
) * 2

_LOAD = """
import json, resource, sys, time
from pathlib import Path
from gensim.models import KeyedVectors
from priors.words.glove import GloveRecipe, WordVectors
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
vectors = WordVectors.load(GloveRecipe(path=Path(sys.argv[1])))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([seconds, peak / 1024, len(vectors), vectors.sha256]))
"""


def write_text(path: Path, words: int) -> None:
    """GloVe's text format: numbers of five places, drawn from a stock of them."""
    rng = np.random.default_rng(0)
    stock = np.array([f"{number:.5g}" for number in rng.normal(0, 0.4, 100_000)])
    with path.open("w", encoding="utf-8") as file:
        for row in range(words):
            file.write(f"word{row} {' '.join(stock[rng.integers(len(stock), size=WIDTH)])}\n")


def load(path: Path) -> tuple[float, float, int, str]:
    """Seconds, MiB that the peak of memory grew by, words and sha256, of a load in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _LOAD, str(path)], capture_output=True, text=True, check=True)
    seconds, peak, words, sha256 = json.loads(done.stdout)
    return seconds, peak, words, sha256


def measure(folder: Path, words: int) -> list[Row]:
    """All figures."""
    path = folder / "words.300d.txt"
    write_text(path, words)
    size = path.stat().st_size / 1e6
    first = load(path)
    second = min(load(path) for _ in range(3))
    assert (first[2], second[2]) == (words, words)
    assert first[3] == second[3]
    copied = sum(part.stat().st_size for part in path.with_name(f"{path.name}.mapped").iterdir()) / 1e6
    tokens = tokenize(TEXT)
    return [
        Row(f"first load of {words} words", first[0], "s"),
        Row("memory it takes", first[1], "MiB", 300 * words / 400_000 + 50),
        Row("later loads", second[0], "s", 1.0),
        Row("memory they take", second[1], "MiB"),
        Row("size of the text", size, "MB"),
        Row("size of the copy", copied, "MB"),
        Row(f"cut a text into {len(tokens)} words", 1e3 * best(lambda: tokenize(TEXT), times=300), "ms", 1.0),
        Row("mark its action's words", 1e3 * best(lambda: is_action_word(tokens, "LongJump"), times=300), "ms", 1.0),
    ]


def main() -> int:
    """Write, measure, print, and clear away."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=400_000)
    parser.add_argument("--folder", type=Path, help="where the text is written and left; a temporary one by default")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="words-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return print_table(measure(folder, options.words))
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
