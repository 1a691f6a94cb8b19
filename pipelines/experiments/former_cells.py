"""Cells of version 0.1, whose keys are hashes of whole recipes: how they are recognised, and moved to today's keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from cache.errors import CacheError
from cache.files.atomic import atomic_path
from cache.files.lock import hold
from cache.recipe import fingerprint_of
from pipelines.experiments.grid import Content, Taken, key_of
from pipelines.run_folder.files import METRICS_FILE, RECIPE_FILE
from pipelines.run_folder.recipe import TrainRun
from training.checkpoints.folder import is_finished
from training.errors import TrainingError
from training.localization.localize import LocalizeRecipe
from training.model.mllm4wtal import ModelRecipe


@dataclass(frozen=True)
class FormerCell:
    """A finished training of version 0.1 whose data are as they were."""

    folder: Path
    key: str
    """What it is called by now."""
    document: dict[str, Any]
    """Its recipe.json."""
    scores: dict[str, str]
    """Folders of scores in it, with what they are called by now."""

    def move(self) -> Path:
        """Give it its names of today. Killed in between, it is found again.

        Raises CacheError where there is such a cell already, or a worker is at this one.
        """
        target = self.folder.with_name(self.key)
        if target.exists():
            raise CacheError(f"{target}: was trained anew; delete it, or {self.folder}")
        with hold(self.folder):
            for name, key in self.scores.items():
                (self.folder / name).rename(self.folder / key)
            with atomic_path(self.folder / RECIPE_FILE) as unfinished:
                document = {**self.document, "run": str(target)}
                unfinished.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        self.folder.rename(target)  # behind the block, whose own files lie in the folder
        return target


def former_cells(folders: Iterable[Path], *, tell: Callable[[str], None]) -> Iterator[FormerCell]:
    """Those of the folders of cells that version 0.1 filled and today's tables can use.

    `tell` is told why another one can not be used: unreadable, not finished, of data that changed since, or of settings
    that mean something else by now.
    """

    @cache
    def contents(dataset: Path, features: Path, embeddings: Path | None) -> tuple[Content, Content]:
        run = TrainRun(dataset=dataset, run=dataset, features=features, embeddings=embeddings)
        return Content(run, former=True), Content(run)

    for folder in folders:
        try:
            run, document = _recipe(folder)
            former, content = contents(run.dataset, run.features_folder, run.embeddings)
            key = key_of(run.train, content.of_training(run.train))
            if key == folder.name:
                continue
            if fingerprint_of({"made_by": document["train"], "data": former.of_training(run.train)}) != folder.name:
                tell(f"{folder}: made from other data than there are now, or by other settings than it says")
            elif not is_finished(folder):
                tell(f"{folder}: its training was not finished")
            elif not run.train.is_of_first_version or _means_something_else(run.train.model):
                tell(f"{folder}: some of its settings mean something else by now")
            else:
                yield FormerCell(folder, key, document, _scores(folder, former, content))
        except (CacheError, TrainingError, OSError, ValueError, KeyError, TypeError) as error:
            tell(f"{folder}: {error}")


def _means_something_else(model: ModelRecipe) -> bool:
    """In 0.1 the turns of both losses counted as steps."""
    return model.use_csr and model.dpid.schedule == "alternate"


def _recipe(folder: Path) -> tuple[TrainRun, dict[str, Any]]:
    path = folder / RECIPE_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CacheError(f"{path}: can not be read, so the training was not finished: {error}") from error
    return TrainRun.parse(document, source=str(path)), document


def _scores(folder: Path, former: Content, content: Content) -> dict[str, str]:
    """Today's names of the scores. Where a score was taken in a way that metrics.json does not tell (--official), it is
    taken again."""
    names = {}
    for file in sorted(folder.glob(f"*-*/{METRICS_FILE}")):
        document = json.loads(file.read_text(encoding="utf-8"))
        subset = document["protocol"]["subset"]
        # a model without a head reads its T-CAM whatever was asked for, and metrics.json has what it did
        for source in get_args(LocalizeRecipe.model_fields["source"].annotation):
            localize = {**document["localize"], "source": source}
            made_by = {"protocol": document["protocol"], "localize": localize, "official": None}
            key = fingerprint_of({"made_by": made_by, "data": former.of_scores(subset)})
            if file.parent.name == f"{subset}-{key}":
                taken = Taken.parse(made_by, source=str(file))
                if taken.is_of_first_version:
                    names[file.parent.name] = f"{subset}-{key_of(taken, content.of_scores(subset))}"
    return names


def refuse_former(root: Path, keys: Iterable[str]) -> None:
    """Raise CacheError if cells that are about to be trained lie under `root` with their keys of version 0.1."""
    wanted = set(keys)
    folders = [folder for folder in sorted(root.glob("*")) if folder.name not in wanted]
    former = former_cells(folders, tell=lambda why: None)
    found = sum(cell.key in wanted and not (root / cell.key).exists() for cell in former)
    if found:
        raise CacheError(
            f"{root}: holds {found} cells of this table under the names that version 0.1 gave them; run `make migrate` "
            "(with the PRESET of this table) to rename them, and then this command again"
        )
