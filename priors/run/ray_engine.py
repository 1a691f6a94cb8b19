"""The engine on a Ray cluster: a Ray Data job over units of videos, with one copy of the model in each worker."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError

from cache.errors import CacheError
from cache.files.atomic import remove_unfinished
from cache.files.workers import dismiss, engage
from cache.tables.store import PartStore
from priors.describers.choice import make_describer
from priors.describers.protocol import Describer
from priors.describers.recipe import DescriberRecipe
from priors.run.plan import VideoWork
from priors.run.ray_worker import Job, RayWorker, Report, Unit, units
from priors.run.recipe import DescriptionRecipe, RayRecipe, RunRecipe
from priors.run.session import Outcome

_HOPELESS = 5  # units in a row that fail for a reason of their own
_CONNECT_SECONDS = 10.0
_LEAVE_SECONDS = 20.0
"""Time in which workers may finish their batch when a run is stopped; schedulers kill what is left after 30 s or so."""
_OBJECTS = 128 << 20  # bytes; only counts travel
_PASSED_ON = ("OMP_NUM_THREADS", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS")
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_log = logging.getLogger(__name__)


class RayEngine:
    """Answers with one copy of the model per GPU (or group of GPUs) of a Ray cluster, or of this machine."""

    name = "ray"

    def __init__(
        self,
        describer: DescriberRecipe,
        texts: DescriptionRecipe,
        run: RunRecipe,
        *,
        load: Callable[[DescriberRecipe], Describer] = make_describer,
    ) -> None:
        if run.num_shards > 1:
            raise CacheError("num_shards: Ray divides the work by itself; leave it out with engine ray")
        self.replicas = 0
        self._describer, self._texts, self._run, self._load = describer, texts, run, load

    def run(self, work: tuple[VideoWork, ...], store: PartStore) -> Generator[Outcome, None, None]:
        """Answer in units of videos, each written by its worker as one Parquet file; yields one outcome per unit,
        without rows.

        Raises CacheError if the cluster cannot be reached or lacks what one copy needs, a worker does not see the store
        or the videos, or some units could not be finished (all others are finished then), and ModelError if a worker
        cannot go on with the model.
        """
        with _cluster(self._run.ray):
            self.replicas, cpus, gpus = share(self._run.ray, _nodes(), processes=1 + self._run.decode.workers)
            try:
                job = self._job(work, store, engage(store.folder))
                todo = units(work, store, self._run.ray.videos_per_unit)
                yield from follow(_reports(todo, job, self.replicas, cpus, gpus), len(todo))
            except BaseException:
                # Workers write what they have, and begin no further batch. The first error is the one to report.
                try:
                    dismiss(store.folder, seconds=_LEAVE_SECONDS)
                except CacheError as error:
                    _log.warning("%s", error)
                raise
            else:
                dismiss(store.folder)
            finally:
                remove_unfinished(store.folder)

    def _job(self, work: Sequence[VideoWork], store: PartStore, signature: str) -> Job:
        existing = (item.entry.path for item in work if item.entry.file_bytes is not None)
        sample = next((path.absolute() for path in existing if path is not None), None)
        home = store.home.absolute()
        return Job(self._load, self._describer, self._texts, self._run, home, signature, sample)


def share(recipe: RayRecipe, nodes: Sequence[Mapping[str, float]], *, processes: int) -> tuple[int, int, float]:
    """Number of copies of the model, and the cores and GPUs of each, on machines with these resources.

    A copy is counted with a core for each of its `processes`, or with all cores of the largest machine if it has fewer.
    Raises CacheError if more are asked for than fit: Ray would wait for them forever.
    """
    gpus = recipe.gpus_per_replica
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) for node in nodes) else 0.0
    largest = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    cpus = recipe.cpus_per_replica or max(1, min(processes, largest))
    room = sum(_room(node, cpus, gpus) for node in nodes)
    wanted = recipe.replicas or (room if gpus else 1)
    if wanted > room or not room:
        machines = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes) or "none"
        raise CacheError(
            f"ray: {max(wanted, 1)} x {cpus} CPUs and {gpus:g} GPUs asked for, each copy on one machine; "
            f"room for {room} (machines: {machines}). Lower ray.replicas, ray.gpus_per_replica, decode.workers or "
            "ray.cpus_per_replica"
        )
    if recipe.replicas is None and (idle := sum(_room(node, 0, gpus) for node in nodes if gpus) - room) > 0:
        _log.warning(
            "ray: there are GPUs for %d more copies of the model, but no cores: each is counted with %d. Lower "
            "decode.workers (or ray.cpus_per_replica) to use them",
            idle,
            cpus,
        )
    return wanted, cpus, gpus


def _room(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Copies that fit on one machine."""
    by_cpu = int(node.get("CPU", 0) // cpus) if cpus else sys.maxsize
    if not gpus:
        return by_cpu
    count = node.get("GPU", 0)
    # Ray does not combine fractions of two GPUs: a fraction fits only as often as each single GPU allows.
    return min(by_cpu, int(count // gpus) if gpus >= 1 else int(count) * int(1 / gpus))


def follow(reports: Iterator[Report], total: int) -> Iterator[Outcome]:
    """The outcomes that workers report, one per finished unit.

    Raises an error that ends the run at once; CacheError, at the end or after several in a row, if units could not be
    finished.
    """
    unfinished = in_a_row = 0
    cause = ""
    for report in reports:
        for note in report.notes:
            _log.warning("%s", note)
        if report.error is not None:
            raise report.error
        if report.cause is None:
            in_a_row = 0
            yield report.outcome
            continue
        unfinished += 1
        in_a_row += 1
        cause = report.cause
        _log.warning("unit %d of %d could not be finished: %s", report.unit + 1, total, cause)
        if in_a_row >= _HOPELESS:
            break
    if unfinished:
        raise CacheError(
            f"ray: {unfinished} of {total} units of videos could not be finished, the last one because of {cause!r}; "
            "finished units are kept, the same command does the rest"
        )


def _reports(todo: Sequence[Unit], job: Job, replicas: int, cpus: float, gpus: float) -> Iterator[Report]:
    """Run the Ray Data job. One block per unit: a finished unit is reported at once, one whose worker died is
    redone."""
    rows = [{"unit": pickle.dumps(unit)} for unit in todo]
    described = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        RayWorker,  # pyright: ignore[reportArgumentType]  # its annotations know no actors
        fn_constructor_args=(job,),
        compute=ray.data.ActorPoolStrategy(size=replicas, max_tasks_in_flight_per_actor=1),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    reports: Iterable[Any] = described.iter_batches(batch_size=1, prefetch_batches=0, batch_format="numpy")
    try:
        for row in reports:
            yield pickle.loads(row["report"][0])
    except RayError as error:
        raise CacheError(
            f"ray: the workers cannot be started, or the cluster is gone: {_last_line(error)}; finished units "
            "are kept. Ray's own logs are in /tmp/ray/session_latest/logs"
        ) from error


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


@contextmanager
def _cluster(recipe: RayRecipe) -> Iterator[None]:
    """A connection to the cluster, or Ray on this machine alone; an existing connection of this process is reused."""
    _be_quiet()
    if ray.is_initialized():
        yield
        return
    if recipe.address is None:
        os.environ.update(_environment())  # started processes inherit it, earlier than through a runtime_env
        options: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECTS}
    else:
        options = {"runtime_env": {"env_vars": _environment()}}
    at_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        _reach(recipe.address)
        with _no_stderr():
            ray.init(
                address=recipe.address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_sigterm)  # instead of Ray's handler, which ends the process at once
    except (OSError, RayError, RuntimeError, ValueError) as error:
        raise CacheError(
            f"ray.address: Ray does not start or answer at {recipe.address or 'this machine'}: {_last_line(error)}. A "
            "cluster that checks tokens needs RAY_AUTH_MODE=token, and its token in ~/.ray/auth_token or RAY_AUTH_TOKEN"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _be_quiet() -> None:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # loading a big model, or a unit of long videos, may take an hour
    context.target_max_block_size = 1 << 20  # of a task's output, from which Ray Data decides how many tasks may run


def _reach(address: str | None) -> None:
    """Raise OSError if nobody listens at host:port, for which Ray would wait many minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Silence the messages of Ray's native code while it starts; errors are raised as exceptions."""
    stderr = os.dup(2)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _environment() -> dict[str, str]:
    """Environment variables that a worker needs to import the packages and to behave as this process does."""
    root = str(Path(__file__).parents[2])
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = dict.fromkeys([root, *(os.path.abspath(path) for path in known if path)])
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {"PYTHONPATH": os.pathsep.join(paths), **passed}


def _nodes() -> list[dict[str, Any]]:
    """The resources of every machine that is up."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
