"""A run on chosen streams: training, evaluation, report, diagnosis, tables, search and resuming read these alone."""

from pathlib import Path

import numpy as np
import pytest

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.features import FeatureGrid, FeatureStore
from pipelines.experiments.grid import Content, TableRun, cells
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs import diagnose, evaluate, report, train
from pipelines.tuning import trial as worker
from pipelines.tuning.recipe import TuneRun
from pipelines.tuning.trials import make_trials
from tests.support.data.tiny_world import GRID, make_world, small_training
from training.checkpoints.checkpoint import load_state
from training.checkpoints.folder import find_checkpoint
from training.errors import TrainingError
from training.hosts.co2net import Co2NetRecipe
from training.hosts.plain import PlainRecipe
from training.inference import detect, load_run
from training.localization.localize import LocalizeRecipe

ALONE = {f"model.{part}": False for part in ("use_ksm", "use_csr", "use_dpid", "use_head")}
CLIP = FeatureGrid(streams={"clip": 5}, fps=GRID.fps, snippet_frames=8, snippet_stride=8)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Twelve videos with rgb and flow, and with clip in a sub-folder."""
    folder = make_world(tmp_path / "tiny")
    store, rng = FeatureStore.create(folder / "features" / "clip", CLIP), np.random.default_rng(1)
    for video in Dataset.load(folder / "annotations.json").videos:
        store.save(video.video_id, rng.normal(size=(20, 5)).astype(np.float32))
    return folder


def chosen(world: Path, *streams: str, **changes: object) -> TrainRun:
    """A training of the host alone on these streams."""
    changes = {**ALONE, "data.streams": streams or None, **changes}
    name = "+".join(streams) or "own"
    return TrainRun(dataset=world, run=world.parent / "runs" / name, train=small_training().changed(changes))


def test_a_run_on_chosen_streams_goes_the_whole_way(world: Path) -> None:
    """The checkpoint holds the chosen streams; flow, which is not chosen, may hold anything."""
    run = chosen(world, "clip", "rgb")
    train.main(run)
    folder = find_checkpoint(run.run)
    assert folder is not None
    assert list(load_state(folder).grid.streams.items()) == [("clip", 5), ("rgb", 6)]
    evaluate.main(evaluate.EvalRun(run=run.run))
    first, metrics = (run.run / "detections.json").read_bytes(), Metrics.load(run.run / "metrics.json")
    assert metrics.videos == 4
    diagnose.main(diagnose.DiagnoseRun(run=run.run))
    report.main(report.ReportRun(run=run.run, videos=0))
    assert "features clip 5 + rgb 6" in (run.run / "report.html").read_text(encoding="utf-8")
    own = FeatureStore.open(world / "features")
    for video in Dataset.load(world / "annotations.json").videos:
        features = own.load(video.video_id).copy()
        features[:, 6:] = 100
        own.save(video.video_id, features)
    evaluate.main(evaluate.EvalRun(run=run.run))
    assert (run.run / "detections.json").read_bytes() == first


def test_inference_selects_the_streams_of_the_run(world: Path) -> None:
    """Whoever has the whole store, or the view, gets the same detections."""
    run = chosen(world, "clip", "rgb")
    train.main(run)
    dataset, whole = Dataset.load(world / "annotations.json"), FeatureStore.open(world / "features")
    found = []
    for store in (whole, whole.select(("clip", "rgb"))):
        trained = load_run(run.run, dataset, store)
        videos, recipe = dataset.split("testing"), LocalizeRecipe(source="cam")
        found.append([detections for _, detections in detect(trained, store, videos, recipe=recipe)])
    assert found[0] == found[1]
    with pytest.raises(CacheError, match="found no stream clip, expected some of these: rgb, flow"):
        load_run(run.run, dataset, FeatureStore(world / "features" / "none", GRID).create(world / "other", GRID))


@pytest.mark.parametrize("host", [PlainRecipe(width=8), Co2NetRecipe(width=8, attention_width=4)], ids=["plain", "co2"])
def test_two_chosen_streams_are_those_of_a_folder_that_has_them_alone(world: Path, host: PlainRecipe) -> None:
    """Weights of a training on flow and rgb, chosen, are those on a folder whose files hold flow, then rgb."""
    own, swapped = FeatureStore.open(world / "features"), world / "swapped"
    widths = {"flow": 4, "rgb": 6}
    store = FeatureStore.create(swapped, GRID.model_copy(update={"streams": widths}))
    for video in Dataset.load(world / "annotations.json").videos:
        features = own.load(video.video_id)
        store.save(video.video_id, np.concatenate([features[:, 6:], features[:, :6]], axis=1))
    weights = []
    for run in (
        chosen(world, "flow", "rgb", **{"model.host": host}),
        chosen(world, **{"model.host": host}).model_copy(update={"features": swapped}),
    ):
        train.main(run)
        folder = find_checkpoint(run.run)
        assert folder is not None
        weights.append((folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_host_of_two_streams_is_refused_before_features_are_read(world: Path) -> None:
    """With the hosts that can; nothing is written."""
    run = chosen(world, "clip", **{"model.host": Co2NetRecipe(width=8)})
    (world / "features" / "clip" / "v0.npy").write_bytes(b"damaged")
    with pytest.raises(TrainingError, match=r"host co2net: found features of 1 stream \(clip\).*plain, um, gaufuse"):
        train.main(run)
    assert not run.run.exists()


def test_a_run_is_not_resumed_on_other_streams(world: Path) -> None:
    """They are part of its recipe."""
    train.main(chosen(world, "rgb", "clip", **{"loop.steps": 2}))
    other = chosen(world, "clip", "rgb").model_copy(update={"run": world.parent / "runs" / "rgb+clip"})
    with pytest.raises(TrainingError, match=r"data\.streams"):
        train.main(other)


def test_tables_name_their_runs_by_the_chosen_streams(world: Path) -> None:
    """A change of a file that is not read leaves names as they are; rows whose host cannot read them are named."""
    evaluation = evaluate.EvalRun(run=world)
    table = TableRun(train=chosen(world, "clip"), evaluate=evaluation, seeds=1, arms=("host",))

    def names() -> list[str]:
        return [str(path) for cell in cells(table) for path in (cell.run.train.run, cell.run.evaluations[0].output)]

    before = names()
    FeatureStore.open(world / "features").save("v0", np.zeros((20, 10), np.float32))
    assert names() == before
    FeatureStore.open(world / "features" / "clip").save("v0", np.zeros((20, 5), np.float32))
    assert not set(names()) & set(before)
    unfit = table.model_copy(update={"table": "table4", "arms": ()})
    with pytest.raises(CacheError, match=r"table4, rows .*co2net.*1 stream \(clip\), expected 2.*leave these rows out"):
        cells(unfit)


def test_a_search_reads_the_chosen_streams(world: Path) -> None:
    """Its trainings and its criteria."""
    recipe = TuneRun(train=chosen(world, "clip", "rgb"), trials=1, steps=2, parts=2)
    (one,) = make_trials(recipe)
    worker.main(one.run)
    assert one.scores()
    folder = find_checkpoint(one.run.folds[0].run)
    assert folder is not None
    assert list(load_state(folder).grid.streams) == ["clip", "rgb"]
    assert Content(recipe.train).features("training", ("clip",)) != Content(recipe.train).features("training", None)
