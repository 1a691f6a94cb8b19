"""One copy of the model on a Ray cluster: takes units of videos, writes each as one Parquet file, and reports
counts."""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cache.errors import CacheError
from cache.files.workers import at_work, attempt, check_engaged
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, Description
from cache.tables.store import PartStore
from priors.describers.protocol import Describer
from priors.describers.recipe import DescriberRecipe
from priors.pretrained.model_files import ModelError, is_folder
from priors.run.generate import append, check_identity
from priors.run.plan import VideoWork
from priors.run.recipe import DescriptionRecipe, RunRecipe
from priors.run.session import Outcome, Session

_ATTEMPTS = 3  # at a unit that kills its worker


@dataclass(frozen=True)
class Unit:
    """Videos that a worker processes as one task."""

    number: int
    part: str
    """Name of the Parquet file that is written for it."""
    work: tuple[VideoWork, ...]


@dataclass(frozen=True)
class Report:
    """A worker's report on a unit: counts, no texts."""

    unit: int
    outcome: Outcome
    error: ModelError | CacheError | None = None
    """An error that ends the run."""
    cause: str | None = None
    """Why this unit could not be finished; it does not end the run."""
    notes: tuple[str, ...] = ()
    """Warnings that were logged on the way."""


@dataclass(frozen=True)
class Job:
    """Settings that every worker of a run needs; all paths are absolute."""

    load: Callable[[DescriberRecipe], Describer]
    describer: DescriberRecipe
    texts: DescriptionRecipe
    run: RunRecipe
    home: Path
    """Folder of the store."""
    signature: str
    """See `cache.files.workers`."""
    sample: Path | None
    """A video that exists on the machine of the run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "describer", _pinned(self.describer, self.texts))


class RayWorker:
    """Made by Ray Data in a process of its own. The model is loaded with the first unit, so that a failure is
    reported."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._store: PartStore | None = None
        self._describer: Describer | None = None
        self._session: Session | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A pickled Unit in, a pickled Report out."""
        return {"report": pickle.dumps(self.answer(pickle.loads(row["unit"])))}

    def answer(self, unit: Unit) -> Report:
        """Describe a unit that is not written yet. Never raises: any error is part of the report."""
        with _collected_warnings() as notes:
            try:
                report = self._answer(unit)
            except (ModelError, CacheError) as error:
                self.close()
                # A plain copy: a chain of causes may hold what cannot be sent.
                report = Report(unit.number, NOTHING, type(error)(str(error)))
            except Exception as error:
                self.close()  # its threads may be in any state
                cause = f"{type(error).__name__}: {error}"[:300]
                report = Report(unit.number, NOTHING, cause=f"{socket.gethostname()}: {cause}")
        return replace(report, notes=tuple(notes))

    def close(self) -> None:
        """End the decoders; the next unit starts others."""
        if self._session is not None:
            self._session.__exit__()
            self._session = None

    def _answer(self, unit: Unit) -> Report:
        with at_work(self._job.home, self._job.signature):
            store = self._open_store()
            if (written := store.part(unit.part, ("status", "new_tokens"))) is not None:
                return Report(unit.number, _counted(unit, written))  # by a worker that died before it could report
            with attempt(self._job.home, unit.part) as number:
                if number > _ATTEMPTS:
                    return Report(unit.number, NOTHING, cause=f"its worker died {_ATTEMPTS} times in the middle of it")
                return Report(unit.number, self._describe(unit, store))

    def _describe(self, unit: Unit, store: PartStore) -> Outcome:
        rows: list[Description] = []
        total = NOTHING
        try:
            for outcome in self._open_session(store).outcomes(unit.work):
                rows += outcome.rows
                total = _sum(total, outcome)
                check_engaged(self._job.home, self._job.signature)  # its run may have been stopped
        finally:
            if rows:
                append(store, rows, name=unit.part)
        return total

    def _open_store(self) -> PartStore:
        if self._store is None:
            sample = self._job.sample
            if sample is not None and not sample.exists():
                raise CacheError(
                    f"{sample}: is there where the run was started, but not on {socket.gethostname()}; a cluster needs "
                    "the videos at the same place on every machine"
                )
            self._store = PartStore.open(self._job.home, DESCRIPTIONS, key=DESCRIPTION_KEY)
        return self._store

    def _open_session(self, store: PartStore) -> Session:
        if self._session is None:
            job = self._job
            if self._describer is None:
                self._describer = job.load(job.describer)
                check_identity(self._describer, job.texts, store)
            self._session = Session(self._describer, job.texts, job.describer, job.run).__enter__()
        return self._session


NOTHING = Outcome((), 0, 0, 0, 0, 0.0, 0.0)
"""The outcome of no answers yet."""


def units(work: tuple[VideoWork, ...], store: PartStore, videos: int) -> list[Unit]:
    """`work` in units of so many videos."""
    chunks = [work[start : start + videos] for start in range(0, len(work), videos)]
    names = store.part_names(len(chunks))
    return [
        Unit(number, name, tuple(map(_absolute, chunk)))
        for number, (name, chunk) in enumerate(zip(names, chunks, strict=True))
    ]


def _absolute(item: VideoWork) -> VideoWork:
    path = item.entry.path
    return item if path is None else replace(item, entry=replace(item.entry, path=path.absolute()))


def _pinned(describer: DescriberRecipe, texts: DescriptionRecipe) -> DescriberRecipe:
    """The same describer on every machine: with the folder, commit and precision of the machine where the run was
    started."""
    pinned: dict[str, Any] = {}
    if is_folder(describer.model):
        pinned["model"] = str(Path(describer.model).absolute())
    elif describer.server.url is None:
        pinned["revision"] = texts.model_revision
    if texts.describer.dtype is not None:
        pinned["dtype"] = texts.describer.dtype
    return describer.model_copy(update=pinned)


def _sum(one: Outcome, other: Outcome) -> Outcome:
    return Outcome(
        (),
        one.answered + other.answered,
        one.failed + other.failed,
        one.new_tokens + other.new_tokens,
        one.videos + other.videos,
        one.waited + other.waited,
        one.model_seconds + other.model_seconds,
    )


def _counted(unit: Unit, rows: list[dict[str, Any]]) -> Outcome:
    """The outcome of a unit, counted from the rows of its file; a retried question that failed has no row."""
    answered = sum(row["status"] == "ok" for row in rows)
    failed = sum(len(item.questions) for item in unit.work) - answered
    return Outcome((), answered, failed, sum(row["new_tokens"] or 0 for row in rows), len(unit.work), 0.0, 0.0)


class _Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{socket.gethostname()}, process {os.getpid()}: {record.getMessage()}")


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Warnings that the packages log meanwhile, which nobody would read on another machine."""
    handler = _Notes()
    loggers = [logging.getLogger(package) for package in ("priors", "cache")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
