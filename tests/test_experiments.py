"""Training, evaluation and the ablation table as commands, on a cache of random features: one road, end to end."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import read_detections
from cache.embeddings import TOKENS_TABLE, VOCABULARY_TABLE
from cache.features import FeatureGrid, FeatureStore
from cache.recipe import Recipe
from cache.schema import (
    DESCRIPTION_KEY,
    KINDS,
    TOKENS,
    VOCABULARY_KEY,
    CacheError,
    TokenRow,
    VocabularyRow,
    vocabulary_schema,
)
from cache.store import PartStore
from pipelines import ablate, compare, evaluate, inspect_cache, train
from training.csr import CsrRecipe
from training.errors import TrainingError
from training.hosts.plain import PlainRecipe
from training.ksm import KsmRecipe
from training.localization_head import HeadRecipe
from training.model import ModelRecipe
from training.official import official_recipe
from training.optimizers import LoopRecipe
from training.protocol import PROTOCOLS
from training.pseudo_labels import PseudoLabelRecipe
from training.recipe import TrainRecipe

CLASSES = ("HighKick", "LongJump")
WORDS = ("high", "kick", "long", "jump", "runs")
GRID = FeatureGrid(streams={"rgb": 6, "flow": 4}, fps=16, snippet_frames=8, snippet_stride=8)


class MadeBy(Recipe):
    """Stands for the recipe of a priors stage."""

    model: str = "canned"


def small_training() -> TrainRecipe:
    """Every part of the model, tiny, for a few steps."""
    model = ModelRecipe(
        host=PlainRecipe(width=8),
        ksm=KsmRecipe(width=8, heads=2, context=1),
        csr=CsrRecipe(width=8, heads=2, encoder_layers=1, decoder_layers=1),
        head=HeadRecipe(width=8, levels=2, pseudo_labels=PseudoLabelRecipe(warmup=0.3, refresh=0.3)),
    )
    loop = LoopRecipe(steps=6, log_every=2, tensorboard=False, device="cpu")
    return TrainRecipe(model=model, loop=loop)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A dataset folder with annotations, features and embeddings of twelve videos."""
    folder = tmp_path / "tiny"
    rng = np.random.default_rng(0)
    store = FeatureStore.create(folder / "features", GRID)
    entries = []
    for index in range(12):
        label = CLASSES[index % 2]
        subset = ("training", "validation", "testing")[index // 4]
        entries.append(VideoEntry(f"v{index}", subset, 10.0, (label,), (Segment(label, 2.0, 5.0),), None))
        store.save(f"v{index}", rng.normal(size=(20, GRID.width)).astype(np.float32))
    Dataset("tiny", CLASSES, tuple(entries)).save(folder / "annotations.json")
    tokens = PartStore.create(folder / "embeddings", MadeBy(), TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE)
    tokens.append([words_of(video, kind) for video in entries[:4] for kind in KINDS])
    schema = vocabulary_schema(3)
    table = PartStore.create(folder / "embeddings", MadeBy(), schema, key=VOCABULARY_KEY, table=VOCABULARY_TABLE)
    vectors = rng.normal(size=(len(WORDS), 3)).astype(np.float32)
    table.append([VocabularyRow(token_id=i, word=word, vector=vectors[i]) for i, word in enumerate(WORDS)])
    return folder


def words_of(video: VideoEntry, kind: str) -> TokenRow:
    """ "runs", then the two words of the class."""
    ids = (4, 0, 1) if video.labels[0] == "HighKick" else (4, 2, 3)
    return TokenRow(
        video_id=video.video_id,
        action_class=video.labels[0],
        kind=kind,  # pyright: ignore[reportArgumentType]
        description_sha256="0",
        tokens=tuple(WORDS[i] for i in ids),
        token_ids=ids,
        known=(True,) * 3,
        is_action_word=(False, True, True),
    )


@pytest.fixture
def run(world: Path) -> train.TrainRun:
    """What `make train` would run on it."""
    return train.TrainRun(dataset=world, run=world.parent / "runs/whole", train=small_training())


def test_a_trained_run_is_evaluated_and_compared(run, world, capsys):
    """The table holds what metrics.json holds, detections lie inside the videos, curves cover every snippet."""
    train.main(run)
    evaluate.main(evaluate.EvalRun(run=run.run))
    metrics = evaluate.Metrics.load(run.run / "metrics.json")
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


def test_a_csr_is_drawn_where_it_is_asked_for(run):
    """As a diagnosis: the detections are the same."""
    train.main(run)
    for output, drawn in (("plain", False), ("drawn", True)):
        evaluate.main(evaluate.EvalRun(run=run.run, output=run.run / output, csr_curves=drawn))
        with np.load(run.run / output / "curves.npz") as curves:
            assert ("v8/attention_csr" in curves.files) == drawn
    plain, drawn = (read_detections(run.run / output / "detections.json") for output in ("plain", "drawn"))
    assert plain == drawn


def test_detections_as_the_public_code_makes_them(run):
    """Whatever the run's own way is; the metrics say which one it was."""
    train.main(run)
    output = run.run / "official"
    evaluate.main(evaluate.EvalRun(run=run.run, official="um", output=output))
    assert evaluate.Metrics.load(output / "metrics.json").localize == official_recipe("um")


def test_runs_of_different_protocols_are_not_compared(run):
    """A table mixes no test sets, units or thresholds; the message names file, field, found and expected."""
    train.main(run)
    evaluate.main(evaluate.EvalRun(run=run.run))
    assert evaluate.Metrics.load(run.run / "metrics.json").protocol == PROTOCOLS["seconds"]
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
    assert evaluate.Metrics.load(run.run / "metrics.json").localize.source == "cam"


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
    assert "there is no mAP" in capsys.readouterr().out


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


def table_of(run: train.TrainRun) -> ablate.AblateRun:
    """Two arms, two seeds."""
    return ablate.AblateRun(train=run, evaluate=evaluate.EvalRun(run=run.run), arms=("host", "both"), seeds=2)


def test_cells_differ_in_parts_and_seed_alone(run):
    """Host alone has no part on; arms of one seed share everything that draws batches."""
    recipe = table_of(run)
    host, both, *_ = ablate.cells(recipe)
    parts = ("use_ksm", "use_csr", "use_dpid", "use_head")
    assert [getattr(host.train.train.model, part) for part in parts] == [False] * 4
    assert [getattr(both.train.train.model, part) for part in parts] == [True] * 4
    assert host.train.train.model_copy(update={"model": both.train.train.model}) == both.train.train
    assert [cell.seed for cell in ablate.cells(recipe)] == [0, 0, 1, 1]
    assert len({cell.train.run for cell in ablate.cells(recipe)}) == 4


def test_other_settings_go_to_another_folder(run):
    """More seeds or arms reuse what is there; another learning rate does not."""
    recipe = table_of(run)
    assert recipe.model_copy(update={"seeds": 5, "arms": ("host", "ksm")}).folder == recipe.folder
    loop = run.train.loop.model_copy(update={"lr": 1.0})
    other = run.model_copy(update={"train": run.train.model_copy(update={"loop": loop})})
    assert table_of(other).folder != recipe.folder


def test_a_table_goes_on_where_it_was(run, monkeypatch, capsys):
    """Only the cells without scores are run again; the table holds mean and spread of what the cells hold."""
    recipe = table_of(run)
    ran: list[str] = []

    def here(missing, workers):
        for cell in missing:
            ran.append(cell.name)
            ablate.run_cell(cell)

    monkeypatch.setattr(ablate, "run_cells", here)
    ablate.main(recipe.model_copy(update={"seeds": 1}))
    assert len(ran) == 2
    ablate.main(recipe)
    assert ran[2:] == ["host alone, seed 1", "+ both (MLLM4WTAL), seed 1"]
    ablate.main(recipe)
    assert len(ran) == 4
    rows = list(csv.DictReader((recipe.folder / "table3.csv").read_text().splitlines()))
    assert len(rows) == 8
    averages = [100 * float(row["average"]) for row in rows if row["arm"] == "both" and row["subset"] == "testing"]
    table = (recipe.folder / "table3.md").read_text()
    assert f"{np.mean(averages):.1f} ± {np.std(averages, ddof=1):.1f}" in table
    assert "4 of 4 runs are there" in capsys.readouterr().out


def test_inspection_counts_without_descriptions_names_the_command(world):
    """Where the priors were never made, it says which command makes them."""
    with pytest.raises(CacheError, match="make priors"):
        inspect_cache.main(inspect_cache.InspectRun(dataset=world))
