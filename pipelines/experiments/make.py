"""Tables 3, 4 and 5 of the paper, and ablations of single options, over several seeds: one command, which goes on.

A cell of a table is a row with a seed. A finished cell is never run again; a cell that was stopped goes on from its
checkpoint. Seeds give all rows the same batches, so differences between rows are paired.
"""

from __future__ import annotations

from pipelines.console import fail, say
from pipelines.experiments.former_cells import refuse_former
from pipelines.experiments.grid import TableRun, cells
from pipelines.experiments.jobs import missing_jobs, run_jobs
from pipelines.experiments.published import comparable, load_published


def main(recipe: TableRun) -> int:
    """Run the cells that are missing, then write and print the table. 1 if a cell failed."""
    published = {} if recipe.published is None else load_published(recipe.published, recipe.table)
    grid = cells(recipe)
    jobs = missing_jobs(grid)
    if jobs:
        refuse_former(jobs[0].run.train.run.parent, [job.run.train.run.name for job in jobs])
    say(f"{recipe.folder}: {sum(cell.done for cell in grid)} of {len(grid)} cells are there")
    failures = run_jobs(jobs, workers=recipe.workers, devices=recipe.devices)
    # matplotlib takes its time, and only now there is something to draw
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
        fail(
            "\n".join(
                [f"{len(failures)} of {len(jobs)} cells failed; the same command tries them again:"]
                + [f"  {failure}" for failure in failures]
            )
        )
    return 1 if failures else 0
