"""Runs the table of a recipe as its command does: `python tests/support/processes/tiny_table.py RECIPE.json`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from pipelines.console import guarded
from pipelines.experiments import make
from pipelines.experiments.grid import TableRun

if __name__ == "__main__":
    recipe = TableRun.load(Path(sys.argv[1]))
    sys.exit(guarded(lambda: make.main(recipe)))
