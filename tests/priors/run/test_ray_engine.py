"""The engine for clusters: units that are written once, room for the copies of a model, and what ends a run."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cache.annotations import Dataset, VideoEntry
from cache.errors import CacheError
from cache.files.workers import Dismissed, at_work, attempt, dismiss, engage
from cache.tables.store import PartStore
from priors.describers.canned import CannedDescriber
from priors.describers.protocol import Describer, Failure, Prepared, Reply
from priors.describers.recipe import DescriberRecipe
from priors.pretrained.model_files import ModelError
from priors.run.plan import Question, VideoWork, plan
from priors.run.ray_worker import NOTHING, Job, RayWorker, Report, Unit, units
from priors.run.recipe import RayRecipe, RunRecipe
from priors.run.session import Outcome
from priors.video.decode_pool import DecodeRecipe
from tests.support.data.rows import described
from tests.support.paths import ROOT
from tests.support.processes.slow_generate import RECIPE, answer, describe, open_store
from tests.support.videos.videos import write_video

SETTINGS = DescriberRecipe(model="canned", batch_size=4)


def _pool(folder: Path, videos: int) -> Dataset:
    paths = [write_video(folder / "videos" / f"v{number}.mp4", 10 + 3 * number, fps=10) for number in range(videos)]
    entries = [VideoEntry(path.stem, "training", None, ("Dive",), (), path) for path in paths]
    dataset = Dataset("pool", ("Dive",), tuple(entries))
    dataset.save(folder / "annotations.json")
    return dataset


def _canned(recipe: DescriberRecipe) -> Describer:
    return CannedDescriber(answer, model_id="canned", model_revision="1")


def _job(store: PartStore, load: Callable[[DescriberRecipe], Describer] = _canned, **changes) -> Job:
    run = RunRecipe(decode=DecodeRecipe(workers=0))
    job = Job(load, SETTINGS, RECIPE, run, store.home.absolute(), engage(store.folder), None)
    return replace(job, **changes)


def _units(store: PartStore, dataset: Dataset, videos: int = 2) -> list[Unit]:
    return units(plan(dataset.split("training"), store).work, store, videos)


def _parts(store: PartStore) -> list[str]:
    return sorted(path.name for path in store.folder.glob("part-*"))


def _work(count: int, path: Path | None = None) -> tuple[VideoWork, ...]:
    entries = [VideoEntry(f"v{number}", "training", None, ("Dive",), (), path) for number in range(count)]
    return tuple(VideoWork(entry, (Question((entry.video_id, "Dive", "key")),)) for entry in entries)


def test_units_hold_all_the_work_in_order_and_have_names_of_their_own(tmp_path):
    """Newer than every part that is there, in the order of the units; with paths that hold on other machines."""
    store = open_store(tmp_path)
    older = store.append([described("a")]).name
    found = units(_work(7, Path("videos/v.mp4")), store, 3)
    assert [len(unit.work) for unit in found] == [3, 3, 1]
    assert [item.entry.video_id for unit in found for item in unit.work] == [f"v{number}" for number in range(7)]
    names = [unit.part for unit in found]
    assert sorted({older, *names}) == [older, *names]
    assert all(item.entry.path == Path.cwd() / "videos/v.mp4" for unit in found for item in unit.work)


def test_a_unit_is_written_as_its_part_and_told_in_numbers(tmp_path):
    """One part of that name; the report counts, and carries no row."""
    store, dataset = open_store(tmp_path), _pool(tmp_path, 3)
    (tmp_path / "videos" / "v1.mp4").write_bytes(b"")
    worker = RayWorker(_job(store))
    first, second = _units(store, dataset)
    report = worker.answer(first)
    assert _parts(store) == [first.part]
    outcome = report.outcome
    assert (outcome.answered, outcome.failed, outcome.videos, outcome.rows) == (2, 2, 2, ())
    assert outcome.new_tokens == sum(row["new_tokens"] or 0 for row in store.rows())
    assert (report.error, report.cause, report.notes) == (None, None, ())
    assert worker.answer(second).outcome.answered == 2
    worker.close()


def test_a_unit_that_is_written_already_is_counted_and_not_made_again(tmp_path):
    """Its worker died after writing and before telling: the next one finds the part."""
    store, dataset = open_store(tmp_path), _pool(tmp_path, 2)
    (tmp_path / "videos" / "v1.mp4").write_bytes(b"")
    (unit,) = _units(store, dataset)
    job = _job(store)
    told = RayWorker(job).answer(unit).outcome
    before = (store.folder / unit.part).stat()

    def never(recipe: DescriberRecipe) -> Describer:
        raise AssertionError("the model is loaded")

    again = RayWorker(replace(job, load=never)).answer(unit)
    assert again.cause is None
    assert again.outcome == replace(told, waited=0.0, model_seconds=0.0)
    assert (store.folder / unit.part).stat() == before


def test_a_unit_that_kills_its_workers_is_left_out(tmp_path):
    """After three that died in the middle of it; the others are described."""
    store, dataset = open_store(tmp_path), _pool(tmp_path, 2)
    bad, good = _units(store, dataset, 1)
    worker = RayWorker(_job(store))
    (store.folder / f".attempts-{bad.part}").write_bytes(b"...")
    assert "died 3 times" in str(worker.answer(bad).cause)
    assert worker.answer(good).outcome.answered == 2
    assert _parts(store) == [good.part]
    assert list(store.folder.glob(".attempts-*")) == []


def test_attempts_count_what_was_begun_and_never_left(tmp_path):
    """An end, by an exception too, leaves nothing; a death leaves a mark."""
    code = (
        "import os, pathlib, cache.files.workers as w; "
        "a = w.attempt(pathlib.Path({!r}), 'p'); a.__enter__(); os._exit(1)"
    )
    dying = [sys.executable, "-c", code.format(str(tmp_path))]
    for deaths in (1, 2):
        with attempt(tmp_path, "other"), attempt(tmp_path, "p") as number:
            assert number == 1
        for _ in range(deaths):
            subprocess.run(dying, cwd=ROOT, check=False)
        with pytest.raises(KeyError), attempt(tmp_path, "p") as number:
            raise KeyError
        assert number == deaths + 1
    assert list(tmp_path.iterdir()) == []


def test_errors_of_a_unit_stand_in_its_report(tmp_path):
    """Those of the model and the disk end the run, any other concerns its unit; finished rows are kept."""
    store, dataset = open_store(tmp_path), _pool(tmp_path, 2)
    (unit,) = _units(store, dataset)

    def unusable(recipe: DescriberRecipe) -> Describer:
        raise ModelError("describer.model: no such thing")

    def defective(recipe: DescriberRecipe) -> Describer:
        raise KeyError("weights")

    report = RayWorker(_job(store, unusable)).answer(unit)
    assert (type(report.error), str(report.error)) == (ModelError, "describer.model: no such thing")
    report = RayWorker(_job(store, defective)).answer(unit)
    assert report.error is None
    assert str(report.cause).endswith("KeyError: 'weights'")

    class Ends(CannedDescriber):
        def describe(self, prepared: Prepared) -> list[Reply | Failure]:
            if prepared.requests[0].prompt.endswith("detail?"):
                raise ModelError("enough")
            return super().describe(prepared)

    worker = RayWorker(_job(store, lambda recipe: Ends(answer, model_id="canned", model_revision="1")))
    assert str(worker.answer(unit).error) == "enough"
    worker.close()
    assert {key[2] for key in store.done()} == {"key"}


def test_another_describer_or_a_missing_disk_is_refused(tmp_path):
    """A worker checks what the run checked: its own machine may have another model, or lack the folders."""
    store, dataset = open_store(tmp_path), _pool(tmp_path, 1)
    (unit,) = _units(store, dataset)
    other = RayWorker(_job(store, lambda recipe: CannedDescriber(answer))).answer(unit)
    assert "expected canned 1" in str(other.error)
    no_videos = RayWorker(_job(store, sample=tmp_path / "nowhere.mp4")).answer(unit)
    assert "nowhere.mp4: is there where the run was started, but not on" in str(no_videos.error)
    no_folder = RayWorker(_job(store, home=tmp_path / "elsewhere")).answer(unit)
    assert "shared file system" in str(no_folder.error)
    assert _parts(store) == []


def test_a_worker_that_outlives_its_run_begins_nothing_more(tmp_path):
    """The next run waits for what it is in the middle of, and no longer than it says."""
    store, dataset = open_store(tmp_path), _pool(tmp_path, 1)
    (unit,) = _units(store, dataset)
    job = _job(store)
    with at_work(store.folder, job.signature), pytest.raises(CacheError, match="still writing, after 0 s"):
        dismiss(store.folder, seconds=0)
    job = _job(store)
    with store.lock():
        pass
    assert isinstance(RayWorker(job).answer(unit).error, Dismissed)
    assert _parts(store) == []
    engage(store.folder)
    with pytest.raises(Dismissed), at_work(store.folder, job.signature):
        pass


def test_a_worker_whose_run_is_stopped_writes_what_it_has_and_ends(tmp_path):
    """After the batch in work, without a unit's further ones."""
    store, dataset = open_store(tmp_path), _pool(tmp_path, 6)
    (unit,) = _units(store, dataset, 6)
    asked = []

    class Dismisses(CannedDescriber):
        def describe(self, prepared: Prepared) -> list[Reply | Failure]:
            asked.append(len(prepared.requests))
            with contextlib.suppress(CacheError):
                dismiss(store.folder, seconds=0)  # by the run, which is being stopped
            return super().describe(prepared)

    worker = RayWorker(_job(store, lambda recipe: Dismisses(answer, model_id="canned", model_revision="1")))
    assert isinstance(worker.answer(unit).error, Dismissed)
    assert asked == [4]
    assert len(store.done()) == 4


def test_a_describer_is_the_same_on_every_machine(tmp_path, monkeypatch):
    """Folders become absolute; the commit and the precision are those found where the run was started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    store = open_store(tmp_path)
    folder = _job(store, describer=DescriberRecipe(model="model")).describer
    assert folder.model == str(tmp_path / "model")
    hub = _job(store, describer=DescriberRecipe(model="owner/name", revision="main", dtype="auto")).describer
    assert (hub.model, hub.revision, hub.dtype) == ("owner/name", "1", "float32")


class TestWithRay:
    """What needs Ray's package."""

    @pytest.fixture(autouse=True)
    def _ray(self):
        pytest.importorskip("ray")

    @pytest.mark.parametrize(
        ("recipe", "nodes", "expected"),
        [
            ({}, [{"CPU": 2}], (1, 2, 0)),
            ({"replicas": 2}, [{"CPU": 6}], (2, 3, 0)),
            ({}, [{"CPU": 16, "GPU": 4}, {"CPU": 8}], (4, 3, 1)),
            ({}, [{"CPU": 8, "GPU": 8}], (2, 3, 1)),
            ({"gpus_per_replica": 2}, [{"CPU": 16, "GPU": 4}, {"CPU": 16, "GPU": 3}], (3, 3, 2)),
            ({"gpus_per_replica": 0.6}, [{"CPU": 16, "GPU": 2}], (2, 3, 0.6)),
            ({"gpus_per_replica": 0}, [{"CPU": 16, "GPU": 2}], (1, 3, 0)),
            ({"cpus_per_replica": 6}, [{"CPU": 16, "GPU": 4}], (2, 6, 1)),
        ],
    )
    def test_copies_of_the_model_fill_the_gpus(self, recipe, nodes, expected):
        """One a GPU unless told otherwise; all GPUs of a copy on one machine."""
        from priors.run.ray_engine import share

        assert share(RayRecipe(**recipe), nodes, processes=3) == expected

    def test_a_copy_is_counted_with_the_processes_that_it_starts(self, monkeypatch, tmp_path):
        """The model and its decoders, so that Ray puts no more copies on a machine than it has cores for."""
        from priors.run import ray_engine

        asked: list[tuple[int, int]] = []

        def reports(todo, job, replicas, cpus, gpus):
            asked.append((replicas, cpus))
            yield Report(0, NOTHING)

        monkeypatch.setattr(ray_engine, "_reports", reports)
        monkeypatch.setattr(ray_engine, "_cluster", lambda recipe: contextlib.nullcontext())
        monkeypatch.setattr(ray_engine, "_nodes", lambda: [{"CPU": 16, "GPU": 8}])
        for workers, expected in ((3, (4, 4)), (1, (8, 2)), (0, (8, 1))):
            run = RunRecipe(decode=DecodeRecipe(workers=workers))
            list(ray_engine.RayEngine(SETTINGS, RECIPE, run).run(_work(1), open_store(tmp_path)))
            assert asked.pop() == expected

    def test_gpus_without_cores_are_told(self, caplog):
        """They would stand idle without a word."""
        from priors.run.ray_engine import share

        share(RayRecipe(), [{"CPU": 8, "GPU": 4}], processes=3)
        assert "GPUs for 2 more copies of the model, but no cores: each is counted with 3" in caplog.text

    @pytest.mark.parametrize(
        ("recipe", "nodes"),
        [
            ({"gpus_per_replica": 1}, [{"CPU": 2}]),
            ({"gpus_per_replica": 4}, [{"CPU": 16, "GPU": 2}, {"CPU": 16, "GPU": 2}]),
            ({"replicas": 3}, [{"CPU": 2}]),
            ({"cpus_per_replica": 4}, [{"CPU": 2, "GPU": 1}]),
            ({}, []),
        ],
    )
    def test_more_than_there_is_is_refused_at_once(self, recipe, nodes):
        """Ray would wait for it without end."""
        from priors.run.ray_engine import share

        with pytest.raises(CacheError, match=r"ray: .* GPUs asked for.*room for"):
            share(RayRecipe(**recipe), nodes, processes=3)

    def test_shards_are_not_for_ray(self):
        """It divides the work itself."""
        from priors.run.ray_engine import RayEngine

        with pytest.raises(CacheError, match="num_shards"):
            RayEngine(SETTINGS, RECIPE, RunRecipe(num_shards=2, shard_index=0))

    @pytest.mark.allow_hosts(["127.0.0.1"])
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own, of its settings
    def test_a_cluster_that_is_not_there_is_told_at_once(self, tmp_path):
        """Ray would try for minutes."""
        from priors.run.ray_engine import RayEngine

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and does not listen
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            engine = RayEngine(SETTINGS, RECIPE, RunRecipe(ray=RayRecipe(address=address)))
            with pytest.raises(CacheError, match=r"ray.address: .* at 127.0.0.1:.*refused"):
                next(engine.run(_work(1), open_store(tmp_path)))

    def test_reports_become_outcomes_and_a_cause_is_told_at_the_end(self, caplog):
        """A unit that failed for a reason of its own costs the others nothing."""
        from priors.run.ray_engine import follow

        done = replace(NOTHING, answered=4)
        reports = [
            Report(0, done, notes=("worker: slow disk",)),
            Report(1, NOTHING, cause="KeyError: 'x'"),
            Report(2, done),
        ]
        seen: list[Outcome] = []
        with pytest.raises(CacheError, match=r"1 of 3 units .*KeyError"):
            seen += follow(iter(reports), 3)
        assert caplog.messages[0] == "worker: slow disk"

    def test_what_ends_the_run_is_raised_as_it_is(self):
        """With its own message, after what was finished before."""
        from priors.run.ray_engine import follow

        outcomes = follow(iter([Report(0, NOTHING), Report(1, NOTHING, error=ModelError("no memory"))]), 2)
        assert next(outcomes) == NOTHING
        with pytest.raises(ModelError, match=r"^no memory$"):
            next(outcomes)

    def test_units_that_all_fail_stop_the_run(self):
        """Before all of them are tried."""
        from priors.run.ray_engine import follow

        tried = []

        def failing():
            for number in range(100):
                tried.append(number)
                yield Report(number, NOTHING, cause="no")

        with pytest.raises(CacheError, match="5 of 100"):
            list(follow(failing(), 100))
        assert len(tried) == 5

    def test_a_run_on_ray_makes_the_table_of_a_run_in_this_process(self, tmp_path):
        """In units, a bad video included, silently, and with nothing to do the second time."""
        dataset = _pool(tmp_path, 7)
        (tmp_path / "videos" / "v4.mp4").write_bytes(b"")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.support.processes.ray_generate", str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["done", "done", "done", "end"]
        assert lines[-2:] == ["done 14", "end 12 2 1"]
        assert done.stderr == ""

        store, whole = open_store(tmp_path), open_store(tmp_path / "local")
        describe(dataset, whole, _canned(SETTINGS), batch_size=4)
        names = [name for name in store.schema.names if name not in ("created_at", "made_by")]
        assert store.table(names).equals(whole.table(names))
        hidden = {path.name for path in store.folder.iterdir() if path.name.startswith(".")}
        assert hidden == {".lock", ".workers"}
