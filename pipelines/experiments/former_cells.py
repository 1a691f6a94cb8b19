"""Runs of version 0.1, whose folders are named by hashes of whole recipes: recognising and renaming them."""

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
    """A finished run of version 0.1 whose data are unchanged."""

    folder: Path
    key: str
    """Its current name."""
    document: dict[str, Any]
    """Its recipe.json."""
    scores: dict[str, str]
    """Folders of scores in it -> their current names."""

    def move(self) -> Path:
        """Rename it; returns the folder. If this is interrupted, `former_cells` finds the run again.

        Raises CacheError if a run of the current name exists, or if a worker has this one.
        """
        target = self.folder.with_name(self.key)
        if target.exists():
            raise CacheError(f"{target}: this run was trained again; delete it, or {self.folder}")
        with hold(self.folder):
            for name, key in self.scores.items():
                (self.folder / name).rename(self.folder / key)
            with atomic_path(self.folder / RECIPE_FILE) as unfinished:
                document = {**self.document, "run": str(target)}
                unfinished.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        self.folder.rename(target)  # after the block, whose lock file lies in the folder
        return target


def former_cells(folders: Iterable[Path], *, tell: Callable[[str], None]) -> Iterator[FormerCell]:
    """The runs of version 0.1 in these folders that tables can still use.

    `tell` is called with the reason for each that cannot be used: unreadable, not finished, made from data that have
    changed, or with settings whose meaning has changed.
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
                tell(f"{folder}: made from other data than there are, or with other settings than its recipe says")
            elif not is_finished(folder):
                tell(f"{folder}: its training is not finished")
            elif not run.train.is_of_first_version or _means_something_else(run.train.model):
                tell(f"{folder}: the meaning of some of its settings has changed")
            else:
                yield FormerCell(folder, key, document, _scores(folder, former, content))
        except (CacheError, TrainingError, OSError, ValueError, KeyError, TypeError) as error:
            tell(f"{folder}: {error}")


def _means_something_else(model: ModelRecipe) -> bool:
    """Whether the steps are counted differently: in 0.1 the turns of both losses counted as steps."""
    return model.use_csr and model.dpid.schedule == "alternate"


def _recipe(folder: Path) -> tuple[TrainRun, dict[str, Any]]:
    path = folder / RECIPE_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CacheError(f"{path}: cannot be read, so the training was not finished: {error}") from error
    return TrainRun.parse(document, source=str(path)), document


def _scores(folder: Path, former: Content, content: Content) -> dict[str, str]:
    """Folder of scores -> current name. Scores whose settings are not in metrics.json (--official) are left out and
    computed again."""
    names = {}
    for file in sorted(folder.glob(f"*-*/{METRICS_FILE}")):
        document = json.loads(file.read_text(encoding="utf-8"))
        subset = document["protocol"]["subset"]
        # a model without a head always uses its T-CAM, and metrics.json has the source that was used
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
    """Raise CacheError if runs that are about to be trained exist under `root` with their names of version 0.1."""
    wanted = set(keys)
    folders = [folder for folder in sorted(root.glob("*")) if folder.name not in wanted]
    former = former_cells(folders, tell=lambda why: None)
    found = sum(cell.key in wanted and not (root / cell.key).exists() for cell in former)
    if found:
        raise CacheError(
            f"{root}: holds {found} runs of this table with their names of version 0.1; run `make migrate` (with the "
            "PRESET of this table) to rename them, then this command again"
        )
