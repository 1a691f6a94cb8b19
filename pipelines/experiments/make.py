"""Train Tables 3, 4 and 5 of the paper, or ablations of single options, over several seeds, with resuming.

A table consists of runs: a row with a seed. A finished run is never repeated, and an interrupted one resumes from its
checkpoint. With the same seed all rows see the same batches, so differences between rows are paired.
"""

from __future__ import annotations

from pipelines.console import fail, say
from pipelines.experiments.former_cells import refuse_former
from pipelines.experiments.grid import TableRun, cells
from pipelines.experiments.jobs import failures_told, missing_jobs, run_jobs
from pipelines.experiments.published import comparable, load_published


def main(recipe: TableRun) -> int:
    """Train and evaluate the missing runs, then write and print the table; 1 if a run failed."""
    published = {} if recipe.published is None else load_published(recipe.published, recipe.table)
    grid = cells(recipe)
    jobs = missing_jobs(grid)
    if jobs:
        refuse_former(jobs[0].run.train.run.parent, [job.run.train.run.name for job in jobs])
    say(f"{recipe.folder}: {sum(cell.done for cell in grid)} of {len(grid)} runs are finished")
    failures = run_jobs(jobs, workers=recipe.workers, devices=recipe.devices)
    # not at the top: matplotlib takes long to import
    from pipelines.experiments.plot import draw
    from pipelines.experiments.results import collect
    from pipelines.experiments.table import write_table

    if any(cell.done for cell in grid):
        results = collect(recipe, grid)
        shown, others = comparable(published, results.protocol)
        written = write_table(recipe, results, grid, published=shown, others=others)
        written += draw(recipe, results, published=shown)
        say(f"written: {recipe.folder}: {', '.join(path.name for path in written)}")
    if failures:
        fail(failures_told(failures, of=len(jobs), what="runs"))
    return 1 if failures else 0
