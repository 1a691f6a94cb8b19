"""Training and evaluation as commands, on a cache of random features, end to end."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cache.detections import read_detections
from cache.errors import CacheError
from pipelines.asked import asked_host
from pipelines.caches import inspect as inspect_cache
from pipelines.presets.demo import DEMO_HOSTS, Demo
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs import compare, evaluate, report, train
from tests.support.data.tiny_world import CLASSES, make_world, small_training
from tests.support.paths import ROOT
from training.compat.localize import official_recipe
from training.errors import TrainingError
from training.evaluation.protocol import PROTOCOLS


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A dataset folder with annotations, features and embeddings of twelve videos."""
    return make_world(tmp_path / "tiny")


@pytest.fixture
def run(world: Path) -> TrainRun:
    """What `make train` would run on it."""
    return TrainRun(dataset=world, run=world.parent / "runs/whole", train=small_training())


def test_a_trained_run_is_evaluated_and_compared(run, world, capsys):
    """The table holds what metrics.json holds, detections lie inside the videos, curves cover every snippet."""
    train.main(run)
    evaluate.main(evaluate.EvalRun(run=run.run))
    metrics = Metrics.load(run.run / "metrics.json")
    assert (metrics.videos, metrics.subset, metrics.classes) == (4, "testing", CLASSES)
    assert metrics.average == pytest.approx(np.mean(metrics.map))
    found = read_detections(run.run / "detections.json")
    assert len(found) == metrics.detections > 0
    assert all(0 <= one.start < one.end <= 10.0 for one in found)
    curves = np.load(run.run / "curves.npz")
    names = ("cas", "attention", "video_scores")
    assert set(curves.files) == {f"v{index}/{name}" for index in range(8, 12) for name in names}
    assert curves["v8/cas"].shape == (20, 2)
    shown = capsys.readouterr().out
    assert metrics.footprint is not None
    assert f"{metrics.footprint.parameters:,}" in shown
    assert f"not loaded: {metrics.footprint.unread_parameters:,} parameters" in shown
    capsys.readouterr()
    compare.main(compare.CompareRun(runs=(run.run, run.run), names=("one", "two")))
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row for row in shown if row[:1] in (["one"], ["two"])] == [
        [name, *(f"{100 * value:.1f}" for value in (*metrics.map, metrics.average))] for name in ("one", "two")
    ]


def test_the_document_names_what_lies_in_a_run_s_folder(run):
    """Every file and folder of a run that was trained and evaluated has its row in docs/evaluation.md."""
    train.main(run)
    evaluate.main(evaluate.EvalRun(run=run.run, csr_curves=True))
    document = (ROOT / "docs/evaluation.md").read_text()
    section = document.partition("## What lies in a run's folder\n")[2].partition("\n## ")[0]
    named = {name.rstrip("/") for name in re.findall(r"^\| `([^`]+)` \|", section, re.M)}
    assert {path.name for path in run.run.iterdir() if not path.name.startswith(".")} <= named
    with np.load(run.run / "curves.npz") as curves:
        assert {name.partition("/")[2] for name in curves.files} == set(re.findall(r"`<video>/(\w+)`", section))


def test_a_csr_is_drawn_where_it_is_asked_for(run):
    """As a diagnosis: the detections are the same."""
    train.main(run)
    for output, drawn in (("plain", False), ("drawn", True)):
        evaluate.main(evaluate.EvalRun(run=run.run, output=run.run / output, csr_curves=drawn))
        with np.load(run.run / output / "curves.npz") as curves:
            assert ("v8/attention_csr" in curves.files) == drawn
    plain, drawn = (read_detections(run.run / output / "detections.json") for output in ("plain", "drawn"))
    assert plain == drawn


def test_curves_are_left_out_where_nobody_reads_them(run, capsys):
    """The scores are the same; what an earlier evaluation wrote is gone, and a report says what makes it."""
    train.main(run)
    with_curves = evaluate.evaluate(evaluate.EvalRun(run=run.run))
    assert (run.run / "curves.npz").exists()
    assert evaluate.evaluate(evaluate.EvalRun(run=run.run, curves=False)) == with_curves
    assert not (run.run / "curves.npz").exists()
    with pytest.raises(CacheError, match=r"curves\.npz: no such file; run `make eval` without --no-curves"):
        report.main(report.ReportRun(run=run.run))


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a device that is not there")
def test_where_the_model_runs_is_asked_for_or_that_of_the_training(run):
    """A device that is not there stops the evaluation before anything is written."""
    train.main(run)
    with pytest.raises(TrainingError, match="device: found cuda"):
        evaluate.main(evaluate.EvalRun(run=run.run, device="cuda"))
    assert not (run.run / "detections.json").exists()


def test_detections_as_the_public_code_makes_them(run):
    """Whatever the run's own way is; the metrics say which one it was."""
    train.main(run)
    output = run.run / "official"
    evaluate.main(evaluate.EvalRun(run=run.run, official="um", output=output))
    assert Metrics.load(output / "metrics.json").localize == official_recipe("um")


def test_runs_of_different_protocols_are_not_compared(run):
    """A table mixes no test sets, units or thresholds; the message names file, field, found and expected."""
    train.main(run)
    evaluate.main(evaluate.EvalRun(run=run.run))
    assert Metrics.load(run.run / "metrics.json").protocol == PROTOCOLS["seconds"]
    other = run.run / "validation"
    evaluate.main(evaluate.EvalRun(run=run.run, subset="validation", units="snippets", output=other))
    message = (
        r"validation/metrics.json: protocol.subset: found 'validation', expected 'testing'; "
        r"protocol.units: found 'snippets', expected 'seconds' as in .*make eval"
    )
    with pytest.raises(CacheError, match=message):
        compare.main(compare.CompareRun(runs=(run.run, other)))
    evaluate.main(evaluate.EvalRun(run=run.run, tious="0.3:0.2:0.7", output=other))
    with pytest.raises(CacheError, match=r"protocol.tious: found \(0.3, 0.5, 0.7\), expected \(0.1, "):
        compare.main(compare.CompareRun(runs=(run.run, other)))


def test_a_protocol_of_other_videos_stops_before_localizing(run):
    """The demo is not THUMOS14, and nothing is written that says so."""
    train.main(run)
    with pytest.raises(CacheError, match=r"found \d+ videos, without video_test_0001292.*thumos14-213 expects 213"):
        evaluate.main(evaluate.EvalRun(run=run.run, protocol="thumos14-213"))
    assert not (run.run / "detections.json").exists()


def test_without_a_head_the_tcam_proposes_and_says_so(run, capsys):
    """A host alone needs no texts; what its detections come from is printed and recorded."""
    parts = {"use_ksm": False, "use_csr": False, "use_dpid": False, "use_head": False}
    alone = run.train.model_copy(update={"model": run.train.model.model_copy(update=parts)})
    nowhere = run.run.parent / "no-embeddings"
    train.main(run.model_copy(update={"train": alone, "embeddings": nowhere}))
    evaluate.main(evaluate.EvalRun(run=run.run))
    assert "detections come from the T-CAM" in capsys.readouterr().out
    assert Metrics.load(run.run / "metrics.json").localize.source == "cam"


def test_without_true_segments_detections_are_written_and_nothing_is_scored(run, world, capsys):
    """People with videos and labels alone get detections."""
    train.main(run)
    document = json.loads((world / "annotations.json").read_text())
    for entry in document["database"].values():
        entry["annotations"] = [{"label": one["label"]} for one in entry["annotations"]]
    (world / "annotations.json").write_text(json.dumps(document))
    evaluate.main(evaluate.EvalRun(run=run.run))
    assert read_detections(run.run / "detections.json")
    assert not (run.run / "metrics.json").exists()
    assert "no score: " in capsys.readouterr().out


def test_evaluating_nothing_names_the_command_that_is_missing(run):
    """Neither a traceback nor an empty table."""
    with pytest.raises(CacheError, match="run `make train`"):
        evaluate.main(evaluate.EvalRun(run=run.run))


def test_a_model_of_other_classes_is_refused(run, world):
    """Class indices would mean something else."""
    train.main(run)
    document = json.loads((world / "annotations.json").read_text())
    (world / "annotations.json").write_text(json.dumps(document | {"classes": [*reversed(CLASSES)]}))
    with pytest.raises(TrainingError, match="was trained on the classes"):
        evaluate.main(evaluate.EvalRun(run=run.run))


def test_another_host_is_one_option(run):
    """`--host co2net` puts that host's defaults into the recipe that is saved; the preset's own host keeps its own."""
    chosen = run.model_copy(update={"host": "co2net"}).resolved()
    assert chosen.train.model.host.kind == "co2net"
    assert run.model_copy(update={"host": "plain"}).resolved().train.model.host == run.train.model.host


def test_a_host_has_the_settings_of_its_preset():
    """`make train ARGS="--host delu"` starts from the demo's DELU, which is as narrow as the demo's own host."""
    assert asked_host(["x", "demo", "--host", "delu"]) == "delu"
    assert asked_host(["x", "demo", "--host=um", "--seed", "1"]) == "um"
    assert asked_host(["x", "demo", "--host", "dleu"]) is None
    chosen = Demo().train_on("delu").train
    assert (chosen.model.host.kind, chosen.model.host.width) == ("delu", 128)
    assert chosen.loop == Demo().train().train.loop.model_copy(update={"host_lr": 1e-3, "warmup": 40})
    assert Demo().train_on(None) == Demo().train_on("co2net") == Demo().train()
    assert set(DEMO_HOSTS) == {"plain", "delu", "um", "ddgnet", "gaufuse"}


def test_inspection_counts_without_descriptions_names_the_command(world):
    """Where the priors were never made, it says which command makes them."""
    with pytest.raises(CacheError, match="make priors"):
        inspect_cache.main(inspect_cache.InspectRun(dataset=world))
