"""Real hand gestures as a weakly-supervised benchmark: Tables 3 and 4 of the paper, with their diagnosis, on a CPU.

`python -m benchmarks gestures --train FOLDER [--test FOLDER] [--hosts plain delu ...] [--rows host head ksm csr both]`
reads the SHREC 2021 recordings (`benchmarks.gestures.recordings` says in which forms), makes features and descriptions,
and trains on labels alone. Without a test folder it cross-validates: every recording of the training folder is tested
in one of --folds folds, with one seed each. With one, --seeds seeds are trained on all training recordings. Settings
are those of preset own, or with --tune those that `make tune` chooses from video labels: of the training recordings, or
of those of the first fold for all folds. Finished runs are never repeated.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from benchmarks.gestures.datasets import folds_of, write_dataset
from benchmarks.gestures.diagnosis import print_diagnoses
from benchmarks.gestures.pretrained import pretrain, read_trimmed
from benchmarks.gestures.recordings import Recording, read_recordings
from benchmarks.gestures.streams import GridChoice
from cache.errors import UserError
from cache.wording import amount
from pipelines.console import fail, say
from pipelines.experiments.grid import TableRun, cells
from pipelines.experiments.make import main as make_table
from pipelines.presets.own import Own
from pipelines.tuning.tune import main as tune
from training.hosts.recipes import HOST_TITLES

_ROWS = ("host", "head", "ksm", "csr", "both")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the datasets, train the tables, print them and the diagnosis of their runs; 1 if a run failed."""
    options = options_of(arguments)
    started = time.monotonic()
    training = _told(options.train, read_recordings(options.train))
    testing = None if options.test is None else _told(options.test, read_recordings(options.test))
    folders = write_datasets(options, training, testing)
    failed = 0
    for table in tables(options, folders, tuned(options, folders[0])):
        failed |= make_table(table)
        print_diagnoses(cells(table))
    say(f"{time.monotonic() - started:.0f} s")
    return failed


def _told(folder: Path, recordings: Sequence[Recording]) -> Sequence[Recording]:
    gestures = sum(len(one.gestures) for one in recordings)
    say(f"{folder}: {amount(len(recordings), 'recording')}, {amount(gestures, 'gesture')}")
    for line in (line for one in recordings for line in one.dropped):
        say(f"left out: {line}")
    return recordings


def write_datasets(
    options: argparse.Namespace, training: Sequence[Recording], testing: Sequence[Recording] | None
) -> list[Path]:
    """The folders of the datasets, one for each fold, or one alone."""
    choice = GridChoice(frames=2 * options.stride, stride=options.stride)
    pretrained = None
    if options.pretrain is not None:
        trimmed = read_trimmed(options.pretrain)
        pretrained = cache(lambda: pretrain(trimmed, choice, width=choice.pretrained))
    if testing is not None:
        folder = options.output / "data" / "official"
        # both folders number their recordings from 001
        subsets = (_named("train", training), _named("test", testing))
        write_dataset(folder, *subsets, choice=choice, pretrained=pretrained)
        return [folder]
    folders = []
    for number, (rest, held_out) in enumerate(folds_of(training, count=options.folds, seed=0)):
        if options.only and number not in options.only:
            continue
        folders.append(options.output / "data" / f"fold{number}")
        write_dataset(folders[-1], rest, held_out, choice=choice, pretrained=pretrained)
    return folders


def _named(prefix: str, recordings: Sequence[Recording]) -> list[Recording]:
    return [replace(one, name=f"{prefix}-{one.name}") for one in recordings]


def tuned(options: argparse.Namespace, folder: Path) -> Path | None:
    """The file of settings that `make tune` chooses for every host from the video labels of one dataset's training
    videos; None if they are not asked for."""
    if not options.tune:
        return None
    file = options.output / "tuned.json"
    for host in options.hosts:
        search = Own().tune(host)
        train = search.train.model_copy(update={"dataset": folder, "run": options.output / "tune" / host})
        changes = {"train": train, "output": file, "trials": options.trials, "workers": options.workers}
        tune(search.model_copy(update=changes))
    return file


def tables(options: argparse.Namespace, folders: Sequence[Path], chosen: Path | None) -> list[TableRun]:
    """Table 3 on the first host, and Table 4 if there are several hosts; preset `own` on these folders."""
    preset = Own()
    train = preset.train_on(options.hosts[0], tuned=chosen)
    train = train.model_copy(update={"dataset": folders[0], "run": options.output})
    if options.steps is not None:
        train = train.changed({"train.loop.steps": options.steps})
    evaluate = preset.evaluate().model_copy(update={"protocol": "seconds", "subset": "testing"})
    folds = tuple(folders) if options.test is None else ()
    changes = {"train": train, "evaluate": evaluate, "validation": None, "folds": folds}
    base = preset.tables(tuned=chosen).model_copy(
        update={**changes, "seeds": options.seeds, "workers": options.workers}
    )
    chosen_tables = [base.of("table3").model_copy(update={"arms": tuple(options.rows)})]
    if len(options.hosts) > 1:
        rows = tuple(f"{host}-{part}" for host in options.hosts for part in ("alone", "whole"))
        chosen_tables.append(base.of("table4").model_copy(update={"arms": rows}))
    return chosen_tables


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="folder of the training recordings")
    parser.add_argument("--test", type=Path, help="folder of the test recordings; without it, folds of --train")
    parser.add_argument("--folds", type=int, default=5, help="number of folds without --test (default 5)")
    parser.add_argument("--only", type=int, nargs="*", default=[], help="numbers of the folds that are run (all)")
    parser.add_argument("--seeds", type=int, default=2, help="seeds with --test (default 2); a fold has one seed")
    parser.add_argument("--hosts", nargs="+", default=["plain"], choices=list(HOST_TITLES), metavar="HOST")
    parser.add_argument("--rows", "--arms", nargs="+", default=list(_ROWS), choices=_ROWS, metavar="ROW")
    parser.add_argument("--pretrain", type=Path, help="folder of SFINGE 3D: pre-train an encoder on its gestures")
    parser.add_argument("--stride", type=int, default=8, help="frames of 20 ms from snippet to snippet (default 8)")
    parser.add_argument("--tune", action="store_true", help="choose the settings of every host by make tune first")
    parser.add_argument("--trials", type=int, default=16, help="trials of --tune for each host (default 16)")
    parser.add_argument("--steps", type=int, help="training steps, instead of those of preset own")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time (default 2)")
    parser.add_argument("--output", type=Path, default=Path("runs/gestures"), help="folder of all that is written")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        fail(str(error))
        sys.exit(2)
