"""Predictions are those of `make eval`, need nothing but the run, go on where they stopped, and survive bad files."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache.annotations import Dataset, VideoEntry
from cache.detections import read_detections
from cache.errors import CacheError
from cache.features import FeatureStore
from pipelines.predicting.predict import PredictRun, main
from pipelines.predicting.predictor import Predictor
from pipelines.runs.evaluate import EvalRun
from pipelines.runs.evaluate import main as evaluate
from tests.support.data.video_world import LOCALIZE, VideoWorld


def predict(world: VideoWorld, output: Path, *inputs: object, **options: Any) -> int:
    """What `make predict` does, with the post-processing of the run."""
    given: dict[str, Any] = {"run": str(world.run), "encoders": world.given, "output": output} | options
    return main(PredictRun(inputs=tuple(map(str, inputs)), **given).as_trained(frozenset()))


def of_eval(world: VideoWorld, output: Path, **options: Any) -> list[Any]:
    """What `make eval` finds."""
    evaluate(EvalRun(run=world.run, output=output, **options).as_tuned(frozenset()))
    return read_detections(output / "detections.json")


def written(folder: Path) -> dict[str, int]:
    """When each file of a video was written last."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "videos").iterdir()}


def test_predictions_are_those_of_the_evaluation(world: VideoWorld, output: Path, tmp_path: Path) -> None:
    """Bit for bit, features and segments, with a post-processing that is not the default."""
    assert predict(world, output, *world.videos) == 0
    found = read_detections(output / "detections.json")
    assert found == of_eval(world, tmp_path / "eval")
    assert {one.video_id for one in found} == {"test0", "test1"}
    store = FeatureStore.open(output / "features")
    for name in ("test0", "test1"):
        (path,) = store.folder.glob(f"{name}-*.npy")
        assert np.array_equal(store.load(path.stem), world.store.load(name))
    default = EvalRun(run=world.run, output=tmp_path / "other")
    evaluate(default)
    assert found != read_detections(tmp_path / "other/detections.json"), "the post-processing changes nothing here"


def test_features_are_predicted_without_encoders(world: VideoWorld, output: Path, tmp_path: Path) -> None:
    """A folder of features, or one file of it: as the evaluation without durations."""
    for video in world.videos:
        shutil.copy(world.store.path(video.stem), tmp_path)
    shutil.copy(world.dataset / "features/features.json", tmp_path)
    assert predict(world, output, tmp_path, encoders={"rgb": Path("nowhere")}) == 0
    found = read_detections(output / "detections.json")
    dataset = Dataset.load(world.dataset / "annotations.json")
    untimed = [VideoEntry(v.video_id, v.subset, None, v.labels, v.segments, None) for v in dataset.videos]
    Dataset("tiny", dataset.classes, tuple(untimed)).save(tmp_path / "data/annotations.json")
    assert found == of_eval(world, tmp_path / "eval", dataset=tmp_path / "data", features=world.dataset / "features")
    assert predict(world, output, tmp_path / "test0.npy") == 0
    assert read_detections(output / "detections.json") == [one for one in found if one.video_id == "test0"]


def test_a_run_is_all_that_is_needed(world: VideoWorld, output: Path, tmp_path: Path) -> None:
    """A copy of the run predicts the same when the dataset is gone, with the encoders in the run as well."""
    predict(world, output, world.videos[0])
    moved = VideoWorld(tmp_path / "none", tmp_path / "none", tmp_path / "elsewhere")
    shutil.copytree(world.run, moved.run)
    clip = shutil.copy(world.videos[0], tmp_path / "test0.mp4")
    recipe = json.loads((moved.run / "recipe.json").read_text())
    (moved.run / "recipe.json").write_text(json.dumps(recipe | {"dataset": str(tmp_path / "gone")}))
    shutil.copytree(world.encoders, moved.run / "encoders")
    assert predict(moved, tmp_path / "again", clip, encoders={}) == 0
    first, second = (read_detections(folder / "detections.json") for folder in (output, tmp_path / "again"))
    assert first == second


def test_finished_videos_are_kept(world: VideoWorld, output: Path, tmp_path: Path) -> None:
    """Until the video, the run, or a setting changes, or they are asked for again; features last longer than that."""
    clip = tmp_path / "clip.mp4"
    shutil.copy(world.videos[0], clip)
    assert predict(world, output, clip) == 0
    first, features = written(output), {*(output / "features").glob("clip-*.npy")}
    assert predict(world, output, clip, encoders={"rgb": Path("nowhere")}) == 0
    assert written(output) == first
    assert predict(world, output, clip, again=True) == 0
    second = written(output)
    assert all(second[name] > first[name] for name in first)
    assert predict(world, output, clip, frames=3) == 0
    assert written(output)["clip.json"] > second["clip.json"]
    assert {*(output / "features").glob("clip-*.npy")} == features
    shutil.copy(world.videos[1], clip)
    assert predict(world, output, clip, frames=3) == 0
    assert len({*(output / "features").glob("clip-*.npy")}) == 2
    other = VideoWorld(world.encoders, world.dataset, tmp_path / "run")
    shutil.copytree(world.run, other.run)
    (state,) = other.run.glob("checkpoint/*/state.json")
    state.write_text(state.read_text() + "\n")  # another checkpoint
    before = written(output)
    assert predict(other, output, clip, frames=3) == 0
    assert written(output)["clip.json"] > before["clip.json"]


def test_a_half_written_video_is_made_again(world: VideoWorld, output: Path) -> None:
    """What a killed run leaves, with a temporary file, counts as nothing."""
    predict(world, output, world.videos[0])
    whole = read_detections(output / "detections.json")
    record = output / "videos/test0.json"
    record.write_text(record.read_text()[:-40])
    (output / "videos/.unfinished-x.html").write_text("<")
    assert predict(world, output, world.videos[0]) == 0
    assert read_detections(output / "detections.json") == whole


def test_bad_files_are_rows(
    world: VideoWorld, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its reason, on the terminal and on the page; the others are predicted; the exit code is 1."""
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    np.save(tmp_path / "narrow.npy", np.zeros((4, 3), np.float32))
    bad = [tmp_path / name for name in ("broken.mp4", "narrow.npy", "absent.mp4")]
    assert predict(world, output, bad[0], world.videos[0], *bad[1:]) == 1
    shown, page = capsys.readouterr().out, (output / "index.html").read_text()
    for reason in ("not a readable video", "found width 3, expected 24", "no such file"):
        assert reason in " ".join(shown.split())
        assert reason in page
    assert {one.video_id for one in read_detections(output / "detections.json")} == {"test0"}
    assert not (output / "videos/broken.json").exists()
    write = shutil.copy(world.videos[1], bad[0])
    assert predict(world, output, write) == 0


def test_selection(world: VideoWorld, output: Path) -> None:
    """By number, score and class, in every file; without a score, tables hold the likely ones only."""
    predict(world, output, world.videos[0])
    whole = read_detections(output / "detections.json")
    likely = [line.split(",")[1:] for line in (output / "segments.csv").read_text().splitlines()[1:]]
    best = {label: max(one.score for one in whole if one.label == label) for label in {one.label for one in whole}}
    wanted = [one for one in whole if one.score >= best[one.label] / 2]
    assert sorted((label, start) for label, start, *_ in likely) == sorted((o.label, f"{o.start:.3f}") for o in wanted)
    score = sorted((one.score for one in whole), reverse=True)[2]
    predict(world, output, world.videos[0], selection={"min_score": score})
    assert read_detections(output / "detections.json") == [one for one in whole if one.score >= score]
    assert len((output / "segments.csv").read_text().splitlines()) == 4
    assert (output / "videos/test0.vtt").read_text().count("-->") == 3
    label = whole[0].label
    predict(world, output, world.videos[0], selection={"top": 1, "classes": [label]})
    assert read_detections(output / "detections.json") == whole[:1]
    with pytest.raises(CacheError, match="classes: found 'Div', which the run does not know; did you mean 'Dive'"):
        predict(world, output, world.videos[0], selection={"classes": ["Div"]})


def test_options_beat_the_run(world: VideoWorld) -> None:
    """Post-processing is the run's but for what options set."""
    recipe = PredictRun(inputs=(), run=str(world.run)).as_trained(frozenset({"localize.class_threshold"}))
    assert (recipe.localize.source, recipe.localize.class_threshold) == (LOCALIZE["source"], 0.2)


def test_three_lines_of_python(world: VideoWorld, tmp_path: Path) -> None:
    """The same segments, with curves; bad files raise."""
    predictor = Predictor(world.run, encoders=world.given)
    prediction = predictor.predict(world.videos[0])
    expected = [one for one in of_eval(world, tmp_path / "eval") if one.video_id == "test0"]
    assert sorted(map(repr, prediction.detections)) == sorted(map(repr, expected))
    assert prediction.curves.cas.shape == (len(world.store.load("test0")), 2)
    assert prediction.video.duration == pytest.approx(110 / 25)
    with pytest.raises(CacheError, match=r"none\.mp4: no such file"):
        predictor.predict(tmp_path / "none.mp4")
    with pytest.raises(CacheError, match="found 4 files, expected one"):
        predictor.predict(world.dataset / "videos")


def test_folders_without_a_run(tmp_path: Path) -> None:
    """Say what is missing."""
    with pytest.raises(CacheError, match=r"recipe\.json: no such file, so nothing was trained here"):
        main(PredictRun(inputs=("clip.mp4",), run=str(tmp_path)))
    with pytest.raises(CacheError, match="inputs: found none"):
        main(PredictRun(inputs=(), run=str(tmp_path)))
