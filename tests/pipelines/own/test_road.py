"""`make own`: real clips go the whole way, files that cannot be read stop nothing, the choice of models is told."""

import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.recipe import Recipe
from pipelines import stages
from pipelines.__main__ import COMMANDS
from pipelines.command_line import read_recipe
from pipelines.own import road
from pipelines.own.models import Asked
from pipelines.own.road import OwnRun, stages_of
from pipelines.run_folder.recipe import TrainRun
from tests.support.command_line import parse
from tests.support.paths import ROOT, SHARED

CLIPS = SHARED / "data" / "gmdcsa24" / "videos"


def parsed(name: str, *arguments: str) -> Recipe:
    """What a command makes of its arguments, whether or not it has presets."""
    command = COMMANDS[name]
    if command.start is not None:
        return parse(name, *arguments)
    kind = getattr(import_module(f"pipelines.{command.module}"), command.recipe)
    return read_recipe(kind, arguments, prog=name)[0]


def in_this_process(stage: stages.Stage, **_: object) -> dict[str, int]:
    """Runs a stage's command without a process of its own, which would load torch anew."""
    (task,) = stage.tasks
    name, *arguments = task.arguments[1:]
    command = COMMANDS[name]
    module = import_module(f"pipelines.{command.module}")
    code = module.main(command.finish(parsed(name, *arguments), arguments)) or 0
    assert code in (0, *task.accepted), stage.name
    return {task.label: code}


@pytest.mark.skipif(not CLIPS.is_dir(), reason="no real clips beside the repository")
def test_real_clips_go_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Two clips with two damaged files among them, by tiny models: the run localizes the clips, and the damaged ones
    are named."""
    videos = tmp_path / "clips"
    videos.mkdir()
    names = ("S1_Fall_13", "S3_ADL_19")
    for name in names:
        shutil.copyfile(CLIPS / f"{name}.mp4", videos / f"{name}.mp4")
    (videos / "cut.mp4").write_bytes((CLIPS / "S1_Fall_13.mp4").read_bytes()[:30_000])
    (videos / "empty.mp4").touch()
    listed = (CLIPS / "labels.csv").read_text().splitlines()
    kept = [line for line in listed if line.startswith(names)]
    (videos / "labels.csv").write_text("\n".join(["video,label", *kept, "cut.mp4,Standing", "empty.mp4,Standing"]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    monkeypatch.setattr(road, "run_stage", in_this_process)
    recipe = OwnRun(videos=videos, models=Asked(tiny=True), steps=3)
    assert road.main(recipe) == 1
    told = capsys.readouterr()
    assert "will mean nothing" in told.err
    assert told.out.index("pipelines/demo/checkpoints/rgb_encoder") < told.out.index("1/5 import")
    assert "2 videos have no features in cache/data/own-tiny/features and are left out: cut, empty" in told.err
    assert "see the failures of features, priors, predict above" in told.out
    dataset = Dataset.load(recipe.dataset / "annotations.json")
    assert {video.video_id for video in dataset.videos} == {*names, "cut", "empty"}
    found = json.loads(Path("predictions/own-tiny/detections.json").read_text())["results"]
    assert {name for name, segments in found.items() if segments} == set(names)
    for segments in found.values():
        for one in segments:
            start, end = one["segment"]
            assert 0 <= start < end <= 20
            assert one["label"] in dataset.classes


def test_the_commands_are_those_that_can_be_run_alone() -> None:
    """Every stage parses; without a describer no descriptions are made and the host is trained alone."""
    tiny = Asked(tiny=True)
    for asked, names in (
        (tiny, ["import-dataset", "features", "priors", "train", "predict"]),
        (
            Asked(encoder="pipelines/demo/checkpoints/rgb_encoder", describer="none"),
            ["import-dataset", "features", "train", "predict"],
        ),
    ):
        recipe = OwnRun(videos=Path("v"), models=asked, name="mine", retrain=True)
        made = stages_of(recipe, road.choose(asked))
        assert [stage.tasks[0].arguments[1] for stage in made] == names
        for stage in made:
            name, *arguments = stage.tasks[0].arguments[1:]
            made_of = parsed(name, *arguments)
            place = ("run", "runs/mine") if name == "predict" else ("dataset", "cache/data/mine")
            assert str(vars(made_of)[place[0]]) == place[1]
            if name == "train":
                assert isinstance(made_of, TrainRun)
                assert made_of.train.model.use_ksm == (asked is tiny)
                assert not made_of.resume


def test_a_dry_run_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """It prints models and commands; a folder that is not there, and a name that is a path, are refused."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(road, "run_stage", None)
    assert road.main(OwnRun(videos=tmp_path, models=Asked(tiny=True), dry_run=True)) == 0
    assert "python -m pipelines train own --dataset cache/data/own-tiny --run runs/own-tiny" in capsys.readouterr().out
    with pytest.raises(CacheError, match="no such folder; name the folder of your videos: make own VIDEOS=FOLDER"):
        road.main(OwnRun(videos=tmp_path / "none"))
    with pytest.raises(CacheError, match=r"name: found '\.\./x', expected the name of a folder"):
        road.main(OwnRun(videos=tmp_path, name="../x", models=Asked(tiny=True)))


def test_models_of_the_first_time_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Features and descriptions are those of these models; what an option names goes first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    monkeypatch.setattr(road, "run_stage", lambda stage, **_: {stage.name: 0})
    encoder = "pipelines/demo/checkpoints/rgb_encoder"
    assert road.main(OwnRun(videos=tmp_path, models=Asked(encoder=encoder, describer="none"))) == 0
    assert road.main(OwnRun(videos=tmp_path)) == 0
    capsys.readouterr()
    other = "pipelines/demo/checkpoints/flow_encoder"
    assert road.main(OwnRun(videos=tmp_path, models=Asked(encoder=other))) == 0
    told = capsys.readouterr().out
    assert other in told
    assert "none: the host is trained alone" in told
