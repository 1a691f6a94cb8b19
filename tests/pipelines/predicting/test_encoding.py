"""The encoders of a run: recorded with it, found by their content, and told when they are missing."""

import json
import shutil
from pathlib import Path

import pytest

from cache.errors import CacheError
from pipelines.predicting.encoding import RunEncoders, encoders_of
from pipelines.run_folder.files import keep_encoders
from tests.support.data.video_world import VideoWorld
from tests.support.models.tiny_encoders import save_tiny_encoders


def test_the_run_knows_its_encoders(world: VideoWorld, tmp_path: Path) -> None:
    """Training copies the record of the features; features without one leave none."""
    assert list(encoders_of(world.run).streams) == ["rgb", "flow"]
    shutil.copytree(world.run, tmp_path / "run")
    (tmp_path / "imported").mkdir()
    keep_encoders(tmp_path / "imported", tmp_path / "run")
    with pytest.raises(CacheError, match="it is not known which encoders made the features of this run"):
        encoders_of(tmp_path / "run")


def test_missing_weights_are_told(world: VideoWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which, where they were looked for, and the option that says where they are."""
    monkeypatch.setattr("pipelines.predicting.encoding._FOLDERS", (tmp_path,))
    with pytest.raises(CacheError) as told:
        RunEncoders(world.run, {})
    message = str(told.value)
    assert f"found no rgb_encoder in {world.run / 'encoders'}, {tmp_path}, expected the weights sha256:" in message
    assert "--encoders rgb|flow PLACE" in message
    with pytest.raises(CacheError, match="encoders: found clip, expected streams of the run: rgb, flow"):
        RunEncoders(world.run, {"clip": tmp_path})


def test_other_weights_are_refused(world: VideoWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever they are; those of the record are found by their names."""
    other = save_tiny_encoders(tmp_path / "other", seed=1)
    with pytest.raises(CacheError, match="rgb_encoder: found the weights sha256:"):
        RunEncoders(world.run, {"rgb": other / "rgb_encoder", "flow": world.encoders / "flow_encoder"})
    monkeypatch.setattr("pipelines.predicting.encoding._FOLDERS", (world.encoders,))
    found = RunEncoders(world.run, {}).places
    assert found == {name: world.encoders / name for name in ("rgb_encoder", "flow_encoder")}


def test_streams_of_sub_folders_are_recorded(world: VideoWorld, tmp_path: Path) -> None:
    """Chosen streams, in their order, wherever their store is; none is recorded if one of them is unknown."""
    features, run = tmp_path / "features", tmp_path / "run"
    record = json.loads((world.run / "encoders.json").read_text())
    for folder, stream in ((features, "rgb"), (features / "motion", "flow")):
        folder.mkdir()
        (folder / "encoders.json").write_text(json.dumps({**record, "streams": {stream: record["streams"][stream]}}))
    run.mkdir()
    for streams in (("flow", "rgb"), ("flow",), None):
        keep_encoders(features, run, streams)
        assert tuple(encoders_of(run).streams) == (streams or ("rgb",))
    keep_encoders(features, run, ("rgb", "clip"))
    assert not (run / "encoders.json").exists()
