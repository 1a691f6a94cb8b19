"""Generates missing descriptions: plan, check the target folder, let an engine answer, log the progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.files.stopping import Stopped, deferred_stops
from cache.tables.schema import Description
from cache.tables.store import PartStore
from priors.describers.protocol import Describer
from priors.describers.recipe import DescriberRecipe
from priors.run.plan import Plan, VideoWork, plan
from priors.run.preflight import check_target, check_videos
from priors.run.recipe import DescriptionRecipe, RunRecipe
from priors.run.run_log import Progress, RunLog
from priors.run.session import Outcome, Session


class OnProgress(Protocol):
    """Called after every batch and every failed video."""

    def __call__(self, progress: Progress, /) -> None:
        """Show the progress."""
        ...


class Engine(Protocol):
    """Where the questions are answered. An engine writes the rows into the store before it yields their outcome."""

    name: str
    replicas: int
    """Copies of the model that run in parallel; known once the first outcome is there."""

    def run(self, work: tuple[VideoWork, ...], store: PartStore) -> Generator[Outcome, None, None]:
        """Answer all of `work`. Closing the iterator stops it; finished rows are in the store then."""
        ...


@dataclass(frozen=True)
class Summary:
    """Result of a run."""

    plan: Plan
    described: int
    failed: int
    progress: Progress


def generate(
    dataset: Dataset,
    subset: str,
    store: PartStore,
    engine: Engine,
    run: RunRecipe,
    *,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Describe every key of `subset` that has no usable row in `store`.

    What cannot be decoded or described becomes a failed row with the reason, and is retried by the next run. Finished
    rows are kept if the run is interrupted. Raises CacheError if another run holds the store, the target cannot be
    written, or no video exists, and ModelError if the model cannot be used; all this before the model is loaded.
    """
    shard = run.shard
    with store.lock(shard=shard):
        todo = plan(dataset.split(subset), store, again=run.again, check_videos=run.check_videos, shard=shard)
        log = RunLog(store.home, todo.total, engine.name, shard=str(shard or ""))
        if todo.total:
            check_videos(todo)
            check_target(store.folder, todo.total)
            try:
                with closing(engine.run(todo.work, store)) as outcomes:
                    _follow(outcomes, log, on_progress)
            finally:
                log.replicas = engine.replicas
                if log.done:
                    log.write()
        if shard is None:
            store.compact()
    return Summary(todo, log.done - log.failed, log.failed, log.progress())


def _follow(outcomes: Iterable[Outcome], log: RunLog, on_progress: OnProgress | None) -> None:
    for outcome in outcomes:
        progress = log.count(
            answered=outcome.answered,
            failed=outcome.failed,
            videos=outcome.videos,
            new_tokens=outcome.new_tokens,
            waited=outcome.waited,
            model_seconds=outcome.model_seconds,
        )
        if on_progress is not None:
            on_progress(progress)


class LocalEngine:
    """Answers in this process, with one model."""

    name = "local"
    replicas = 1

    def __init__(
        self, load: Callable[[], Describer], recipe: DescriptionRecipe, settings: DescriberRecipe, run: RunRecipe
    ) -> None:
        self._load = load
        self._recipe = recipe
        self._settings = settings
        self._run = run

    def run(self, work: tuple[VideoWork, ...], store: PartStore) -> Generator[Outcome, None, None]:
        """Load the model and answer; rows are written every `write_seconds`, and at the end in any case."""
        describer = self._load()
        check_identity(describer, self._recipe, store)
        writer = _Writer(store, self._run.write_seconds)
        try:
            with Session(describer, self._recipe, self._settings, self._run) as session:
                for outcome in session.outcomes(work):
                    writer.add(outcome.rows)
                    yield outcome
        finally:
            writer.flush()


def check_identity(describer: Describer, recipe: DescriptionRecipe, store: PartStore) -> None:
    """Raise CacheError unless describer and store match `recipe`: a store never mixes texts of two models."""
    store.require(recipe)
    if (describer.model_id, describer.model_revision) != (recipe.model, recipe.model_revision):
        found = f"{describer.model_id} {describer.model_revision}"
        raise CacheError(f"the describer is {found}, expected {recipe.model} {recipe.model_revision} of the recipe")


class _Writer:
    def __init__(self, store: PartStore, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._rows: list[Description] = []
        self._written = time.monotonic()

    def add(self, rows: tuple[Description, ...]) -> None:
        self._rows += rows
        if time.monotonic() - self._written >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Append all rows as one Parquet file; a signal that arrives meanwhile takes effect once they are written."""
        with deferred_stops() as stop:
            if self._rows:
                append(self._store, self._rows)
                self._rows = []
            self._written = time.monotonic()
        if stop.signum is not None:
            raise Stopped(stop.signum)


def append(store: PartStore, rows: list[Description], *, name: str | None = None) -> None:
    """Write rows (as the Parquet file of that name), or raise a CacheError that says what is lost."""
    try:
        store.append(rows, name=name)
    except OSError as error:
        raise CacheError(
            f"{store.folder}: {len(rows)} finished descriptions could not be written ({error.strerror}); all before "
            "them are kept. Fix the disk and run the same command again: it continues with what is missing"
        ) from error
