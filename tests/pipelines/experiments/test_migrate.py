"""What version 0.1 made is recognised, renamed by `make migrate`, and not made again."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import create_model

import cache.files.atomic
import priors.stage
from cache.annotations import Dataset, VideoEntry
from cache.content import annotations_content
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.files.lock import hold
from cache.tables.embeddings import load_prior_texts
from cache.tables.folders import only_fingerprint
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, KINDS
from cache.tables.store import PartStore
from pipelines.experiments import make, migrate
from pipelines.experiments.grid import Cell, TableRun, cells
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun
from pipelines.runs.evaluate import EvalRun
from priors.describers.options import ServerRecipe
from priors.describers.recipe import DescriberRecipe
from priors.run.recipe import DataRecipe, DescriptionRecipe, PriorsRecipe, PromptsRecipe
from priors.stage import make_priors
from priors.words.embed import embed
from priors.words.glove import GloveRecipe, WordVectors
from tests.support.data.rows import Made, described
from tests.support.data.tiny_world import make_world, small_training
from tests.support.data.version_01 import old_embeddings_content, old_features_content, old_name, old_store

GENERATION = {
    "temperature": 0.0,
    "top_p": 1.0,
    "seed": 0,
    "beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram": 0,
}
DOCUMENT = {
    "model": "served",
    "model_revision": "r1",
    "describer": {
        "key_tokens": 64,
        "complete_tokens": 256,
        "generation": GENERATION,
        "server": {"jpeg_quality": 90, "say_times": True},
    },
    "frames": {"count": 16, "max_side": 448, "reader": "pyav"},
    "sampler_version": 1,
    "key_prompt": PromptsRecipe().key,
    "complete_prompt": PromptsRecipe().complete,
    "text_version": 1,
}
"""recipe.json of descriptions of version 0.1, by a server with every other setting its default."""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PriorsRecipe:
    """The stage on a cache of version 0.1 that lacks nothing: it fails where a model is asked for."""
    monkeypatch.setattr(priors.stage, "make_describer", lambda recipe: pytest.fail("a model was loaded"))
    return cache_of_01(tmp_path / "pool")


def cache_of_01(data: Path) -> PriorsRecipe:
    """Three described videos in two parts, one text of them twice, with their words; and the stage that made them."""
    videos = tuple(VideoEntry(name, "training", None, ("Dive",), (), None) for name in "abc")
    Dataset("pool", ("Dive",), videos).save(data / "annotations.json")
    store = old_store(data / "descriptions", DOCUMENT, DESCRIPTIONS, key=DESCRIPTION_KEY)
    store.append([described("a", kind=kind, text="an older text") for kind in KINDS])
    store.append([described(video.video_id, kind=kind, text="a person dives") for video in videos for kind in KINDS])
    (store.home / "runs.jsonl").write_text("{}\n")
    glove = data / "words.txt"
    glove.write_text("".join(f"{word} {place} 1.0\n" for place, word in enumerate(["a", "person", "dives", "dive"])))
    words = embed(store, WordVectors.load(GloveRecipe(path=glove)), data / "embeddings")
    assert words.folder.name == old_name(json.loads((words.folder / "recipe.json").read_text()))
    server = ServerRecipe(url="http://127.0.0.1:9/v1")
    return PriorsRecipe(
        data=DataRecipe(folder=data),
        describer=DescriberRecipe(model="served", revision="r1", server=server),
        glove=GloveRecipe(path=glove),
    )


def _rows(recipe: PriorsRecipe) -> tuple[list, set]:
    folder = recipe.data.folder
    home = only_fingerprint(folder / "descriptions", made_by="make priors")
    store = PartStore.open(home, DESCRIPTIONS, key=DESCRIPTION_KEY)
    texts = load_prior_texts(only_fingerprint(folder / "embeddings", made_by="make priors"))
    return store.table().to_pylist(), {(key, text.tokens) for key, text in texts.rows.items()}


def test_a_cache_of_01_is_renamed_and_nothing_is_described_or_embedded_again(recipe, tmp_path, capsys):
    """`make priors` says what to run; after that it finds every row, and a second migration finds nothing."""
    before = _rows(recipe)
    with pytest.raises(CacheError, match=rf"{old_name(DOCUMENT)}.*version 0\.1.*run `make migrate`"):
        make_priors(recipe)
    asked = migrate.MigrateRun(dataset=recipe.data.folder, runs=tmp_path / "runs")
    migrate.main(asked)
    assert f"{old_name(DOCUMENT)} -> " in capsys.readouterr().out
    assert _rows(recipe) == before
    made = make_priors(recipe)
    assert (made.described.plan.total, made.described.plan.skipped) == (0, 6)
    assert made.embedded is not None
    assert (made.embedded.embedded, made.embedded.skipped, made.embedded.retired) == (0, 6, 0)
    assert (made.descriptions.home / "runs.jsonl").read_text() == "{}\n"
    migrate.main(asked)
    assert "renamed: 0 folders" in capsys.readouterr().out
    assert _rows(recipe) == before


def test_a_migration_that_was_killed_goes_on(tmp_path, monkeypatch):
    """After any of its renames; until it is through, `make priors` describes nothing."""
    monkeypatch.setattr(priors.stage, "make_describer", lambda recipe: pytest.fail("a model was loaded"))
    replace, kill_at = os.replace, 0
    while True:
        kill_at += 1
        recipe = cache_of_01(tmp_path / str(kill_at))
        before, asked = _rows(recipe), migrate.MigrateRun(dataset=recipe.data.folder, runs=tmp_path / "runs")
        left = kill_at

        def killed(*paths: Path) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            replace(*paths)

        with monkeypatch.context() as patched:
            patched.setattr(cache.files.atomic.os, "replace", killed)
            try:
                migrate.main(asked)
            except KeyboardInterrupt:
                with pytest.raises(CacheError, match="make migrate"):
                    make_priors(recipe)
        migrate.main(asked)
        assert _rows(recipe) == before
        assert make_priors(recipe).described.plan.total == 0
        if left > 0:
            break
    assert kill_at > 5


def test_what_people_put_beside_the_parts_stays(recipe, tmp_path, capsys):
    """Such as a part that could not be read, moved away as its message says; the folder is told."""
    home = recipe.data.folder / "descriptions" / old_name(DOCUMENT)
    (home / "broken").mkdir()
    (home / "broken" / "part.parquet").write_bytes(b"rows")
    migrate.main(migrate.MigrateRun(dataset=recipe.data.folder, runs=tmp_path / "runs"))
    assert [path.name for path in home.rglob("*")] == ["broken", "part.parquet"]
    assert f"left there: broken in {home}" in capsys.readouterr().out
    assert make_priors(recipe).described.plan.total == 0


def test_a_run_at_work_keeps_its_folder(recipe, tmp_path, capsys):
    """Even one that has written nothing yet; what can not be moved keeps nothing else back, and the exit code is 1."""
    home = recipe.data.folder / "descriptions" / old_name(DOCUMENT)
    for torn in ("torn", "torn-too"):
        (recipe.data.folder / "embeddings" / torn).mkdir(parents=True)
        (recipe.data.folder / "embeddings" / torn / "recipe.json").write_text("{")
    asked = migrate.MigrateRun(dataset=recipe.data.folder, runs=tmp_path / "runs")
    with hold(home):
        assert migrate.main(asked) == 1
        assert (home / "recipe.json").exists()
    assert capsys.readouterr().out.count("left as it is") == 3
    migrate.main(asked)
    assert not home.exists()


def test_settings_that_mean_something_else_by_now_are_left_alone(recipe, tmp_path, monkeypatch, capsys):
    """A class of a raised version would take rows of its first version for its own."""
    monkeypatch.setattr("priors.video.frames.FramesRecipe.schema_version", 2, raising=False)
    migrate.main(migrate.MigrateRun(dataset=recipe.data.folder, runs=tmp_path / "runs"))
    assert f"left as it is: {recipe.data.folder / 'descriptions' / old_name(DOCUMENT)}" in capsys.readouterr().out
    assert (recipe.data.folder / "descriptions" / old_name(DOCUMENT)).exists()


def test_a_cache_made_today_is_reopened_by_a_recipe_with_one_more_field(tmp_path):
    """At its own level or below; the rows are there, and another value is another folder."""
    store = PartStore.create(tmp_path, Made(version=3), DESCRIPTIONS, key=DESCRIPTION_KEY)
    store.append([described("a")])
    longer: Any = create_model("Made", __base__=Made, added=(int, 5))
    again = PartStore.create(tmp_path, longer(version=3), DESCRIPTIONS, key=DESCRIPTION_KEY)
    assert again.home == store.home
    assert again.done() == store.done() != set()
    again.append([described("b")])
    assert len(PartStore.create(tmp_path, Made(version=3), DESCRIPTIONS, key=DESCRIPTION_KEY).done()) == 2
    assert not PartStore.create(tmp_path, longer(version=3, added=6), DESCRIPTIONS, key=DESCRIPTION_KEY).done()


def test_a_recipe_of_01_says_the_same_as_today(recipe):
    """The document above is read as what `make priors` asks for."""
    today = DescriptionRecipe.of(recipe.describer, recipe.frames, recipe.prompts)
    assert DescriptionRecipe.parse(DOCUMENT, source="here") == today


@pytest.fixture
def table(tmp_path: Path) -> TableRun:
    """A table without any finished run."""
    world = make_world(tmp_path / "tiny")
    root = tmp_path / "runs" / "tables"
    return TableRun(
        train=TrainRun(dataset=world, run=root, train=small_training().changed({"model.dpid.schedule": "joint"})),
        evaluate=EvalRun(run=root),
        arms=("host", "both"),
        seeds=1,
    )


def _finish_as_01(cell: Cell) -> Path:
    """The files of a finished run, with their names of version 0.1."""
    training, steps = cell.run.train, cell.run.train.train.loop.steps
    dataset = Dataset.load(training.dataset / "annotations.json")
    store = FeatureStore.open(training.features_folder)

    def data(subset: str, *, segments: bool) -> list[str]:
        ids = [video.video_id for video in dataset.split(subset)]
        return [annotations_content(dataset, subset, segments=segments), old_features_content(store, ids)]

    made_by, shown = training.train.model_dump(mode="json"), data("training", segments=False)
    if training.train.model.needs_texts:
        shown.append(old_embeddings_content(training.embeddings_folder))
    home = training.run.with_name(old_name({"made_by": made_by, "data": shown}))
    training.model_copy(update={"run": home}).save(home / "recipe.json")
    state = {"version": 2, "step": steps, "recipe": {"loop": {"steps": steps}}}
    (home / "checkpoint").mkdir()
    (home / "checkpoint" / "state.json").write_text(json.dumps(state))
    for one in cell.run.evaluations:
        protocol = one.chosen()
        without_head = training.train.model.head is None
        localize = one.localize.model_copy(update={"source": "cam"}) if without_head else one.localize
        taken = {"protocol": protocol.model_dump(mode="json"), "localize": one.localize.model_dump(mode="json")}
        key = old_name({"made_by": {**taken, "official": None}, "data": data(protocol.subset, segments=True)})
        Metrics(
            run=home.name, protocol=protocol, subset=protocol.subset, videos=4, detections=0, tious=protocol.tious,
            map=(0.0,) * len(protocol.tious), average=0.0, classes=(), ap=(), unscored={}, left_out={},
            localize=localize,
        ).save(home / f"{protocol.subset}-{key}" / "metrics.json")  # fmt: skip
    return home


def test_cells_of_01_are_renamed_and_not_trained_again(table, monkeypatch, capsys):
    """The table says what to run; after that every run has its training and its scores."""
    homes = [_finish_as_01(cell) for cell in cells(table)]
    monkeypatch.setattr(make, "run_jobs", lambda *jobs, **options: pytest.fail("a cell was trained"))
    with pytest.raises(CacheError, match=r"holds 2 runs of this table.*version 0\.1.*run `make migrate`"):
        make.main(table)
    assert all(home.exists() for home in homes)
    asked = migrate.MigrateRun(dataset=table.train.dataset, runs=table.train.run.parent)
    migrate.main(asked)
    assert capsys.readouterr().out.count("(2 scores)") == 2
    grid = cells(table)
    assert all(cell.done and cell.run.trained for cell in grid)
    assert TrainRun.load(grid[0].run.train.run / "recipe.json").run == grid[0].run.train.run
    migrate.main(asked)
    assert "0 runs of tables" in capsys.readouterr().out


def test_cells_of_other_data_are_left_alone(table, capsys):
    """A run does not show what it was trained on, so it does not belong to other data."""
    home = _finish_as_01(cells(table)[0])
    path = table.train.features_folder / "v0.npy"
    np.save(path, np.load(path) + 1)
    migrate.main(migrate.MigrateRun(dataset=table.train.dataset, runs=table.train.run.parent))
    assert f"left as it is: {home}: made from other data" in " ".join(capsys.readouterr().out.split())
    assert home.exists()
