"""Which families of video chat models run here, and whether each does what it must.

`python -m benchmarks families [FAMILY ...]` makes a tiny random checkpoint of each family, loads it without a network
as the large ones are loaded, and asks of it what tests/priors/describers/test_families.py asks. With `--model
FOLDER_OR_ID` a real model is asked instead. Exits with 1 if a check fails.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors on several threads are many times slower than on one
from priors.describers.families import FAMILIES
from priors.describers.hf import HfDescriber
from priors.describers.recipe import DescriberRecipe
from priors.pretrained.model_files import ModelError
from tests.support.models.family_checks import CHECKS
from tests.support.models.tiny_models import WORDS, save_tiny


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(WORDS), metavar="FAMILY", help=", ".join(WORDS))
    parser.add_argument("--model", help="folder or hub id of a model to ask instead of the tiny ones")
    chosen = parser.parse_args()
    if odd := sorted(set(chosen.families) - set(WORDS)):
        parser.error(f"found {odd[0]}, expected some of {', '.join(WORDS)}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        models = {family: str(Path(folder) / family) for family in chosen.families}
        for family, model in {chosen.model: chosen.model}.items() if chosen.model else models.items():
            if chosen.model is None:
                save_tiny(Path(model), family)
            rows.append(_row(FAMILIES[family].name if family in FAMILIES else family, model))
    _print([["family", "loads offline", *CHECKS, "seconds"], *rows])
    return 1 if any(cell.startswith("no:") for row in rows for cell in row) else 0


def _row(name: str, model: str) -> list[str]:
    started = time.perf_counter()
    try:
        describer = HfDescriber(DescriberRecipe(model=model))
    except ModelError as error:
        return [name, f"no: {error}", *("" for _ in CHECKS), f"{time.perf_counter() - started:.1f}"]
    cells = []
    for label, check in CHECKS.items():
        try:
            check(describer)
            told = label == "true timestamps" and describer.family.times
            cells.append(f"yes, by {told}" if told else "not told" if label == "true timestamps" else "yes")
        except AssertionError as error:
            cells.append(f"no: {str(error).splitlines()[0] if str(error) else check.__doc__}")
    return [name, "yes", *cells, f"{time.perf_counter() - started:.1f}"]


def _print(rows: list[list[str]]) -> None:
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")


if __name__ == "__main__":
    sys.exit(main())
