"""Reads thousands of mutated inputs by every reader: each is to be read right, or refused with a message.

`python -m benchmarks fuzz [--seed 0] [--count 10000] [--only FORMAT ...] [--workers 2] [--keep FOLDER]` prints a row
for each format. Right: read, and the value is that of a plain second reader, or that of the input before a mutation
which leaves its meaning. Refused: by an error of the project's own, whose message names the file, and the item where
one is at fault. Wrong: everything else, that is another error, another value without a word, more than 5 s or 1 GiB.
Each wrong one is printed with the line that repeats it, and the command exits with 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fuzzing.known import FORMATS, find
from benchmarks.fuzzing.trials import Format, Verdict, drawn, tried, write
from benchmarks.fuzzing.workers import Job, Limits, run

LIMITS = Limits(seconds=5.0, memory=1 << 30)


def jobs(formats: Sequence[str], count: int) -> list[Job]:
    """So many inputs in all, shared among the formats; the slow ones first, for all workers to have their part."""
    shares = {name: find(name).share for name in formats}
    each = {name: max(1, -(-count * share // sum(shares.values()))) for name, share in shares.items()}
    return [Job(name, number) for name in reversed(formats) for number in range(each[name])]


def table(verdicts: Sequence[Verdict], formats: Sequence[str]) -> str:
    """Formats down, outcomes across, and the sums."""
    counts = Counter((verdict.format, verdict.outcome) for verdict in verdicts)
    outcomes = ("right", "refused", "wrong")
    lines = [f"{'format':14}{'inputs':>8}{''.join(f'{outcome:>9}' for outcome in outcomes)}"]
    for name in formats:
        row = [counts[name, outcome] for outcome in outcomes]
        lines.append(f"{name:14}{sum(row):>8}{''.join(f'{number:>9}' for number in row)}")
    sums = [sum(counts[name, outcome] for name in formats) for outcome in outcomes]
    return "\n".join([*lines, f"{'in all':14}{sum(sums):>8}{''.join(f'{number:>9}' for number in sums)}"])


def main(options: argparse.Namespace) -> int:
    """Run and print; 1 where something is wrong."""
    if options.trial is not None:
        return _one(find(options.only[0]), options.seed, options.trial, options.keep)
    begin = time.monotonic()
    todo = jobs(options.only, options.count)
    verdicts = []
    for verdict in run(todo, seed=options.seed, workers=options.workers, limits=LIMITS, keep=options.keep):
        verdicts.append(verdict)
        if verdict.outcome == "wrong":
            again = f"--seed {options.seed} --only {verdict.format} --trial {verdict.number}"
            print(
                f'{verdict.format}, {verdict.mutation}: {verdict.why}\n    make bench-fuzz ARGS="{again}"', flush=True
            )
    print(table(verdicts, options.only))
    print(f"seed {options.seed}, {options.workers} workers, {time.monotonic() - begin:.0f} s")
    return int(any(verdict.outcome == "wrong" for verdict in verdicts))


def _one(form: Format, seed: int, number: int, keep: Path | None) -> int:
    """A single input, in this process."""
    if keep is not None:
        write(drawn(form, seed, number), keep)
        print(f"the input is in {keep}")
    verdict = tried(form, seed, number)
    print(f"{form.name}, {verdict.mutation}: {verdict.outcome}: {verdict.why}")
    return int(verdict.outcome == "wrong")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument(
        "--only", nargs="+", choices=FORMATS, default=FORMATS, metavar="FORMAT", help=", ".join(FORMATS)
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the inputs that end wrong")
    parser.add_argument("--trial", type=int, help="only the input of this number, of the first format of --only")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the others reserve address space in advance
    sys.exit(main(parser.parse_args()))
