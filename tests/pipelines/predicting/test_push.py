"""Runs go to the Hub and come back: the inference part alone, cached, with nothing of the machine or the training."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cache.detections import read_detections
from cache.errors import CacheError
from pipelines.predicting.hub import local_run
from pipelines.predicting.predict import PredictRun
from pipelines.predicting.predict import main as predict
from pipelines.predicting.push import PushRun, gather, main
from tests.support.data.video_world import VideoWorld
from tests.support.models.fake_hub import FakeHub, fake_hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub, an empty cache, and a user who is logged in."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with fake_hub() as found:
        yield found


def segments(run: str, world: VideoWorld, output: Path, **encoders: Path) -> list:
    """What a run finds in the first test video."""
    given = encoders or (world.given if not run.startswith("hf:") else {})
    recipe = PredictRun(inputs=(str(world.videos[0]),), run=run, encoders=given, output=output, pages=False)
    assert predict(recipe.as_trained(frozenset())) == 0
    return read_detections(output / "detections.json")


def test_there_and_back(hub: FakeHub, world: VideoWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An uploaded run predicts as the one on the disk does, from the cache also when the Hub is gone."""
    main(PushRun(run=world.run, to="me/tiny", private=True, with_encoders=True, encoders=world.given))
    assert "--run hf:me/tiny" in capsys.readouterr().out
    assert hub.private == {"me/tiny": True}
    suffixes = {Path(path).suffix for path in hub.files("me/tiny")}
    assert suffixes == {".json", ".safetensors", ".md"}
    wanted = segments(str(world.run), world, tmp_path / "here")
    assert segments("hf:me/tiny", world, tmp_path / "there") == wanted
    hub.down = True
    assert segments("hf:me/tiny", world, tmp_path / "cached") == wanted


def test_revisions(hub: FakeHub, world: VideoWorld) -> None:
    """@revision is a commit of the past; nothing but JSON and safetensors is ever fetched."""
    main(PushRun(run=world.run, to="me/tiny"))
    first = hub.commits["me/tiny"][0][0]
    files = hub.files("me/tiny")
    hub.commits["me/tiny"].append(
        ("f" * 40, {**files, "recipe.json": b"{}", "evil.py": b"", "x.bin": b"", "y.pt": b""})
    )
    assert (local_run("hf:me/tiny") / "recipe.json").read_text() == "{}"
    assert json.loads((local_run(f"hf:me/tiny@{first}") / "recipe.json").read_text())["run"] == "tiny"
    fetched = [path for path in hub.asked if "/resolve/" in path]
    assert {Path(path).suffix for path in fetched} == {".json", ".safetensors"}


def test_what_is_not_there_is_told(hub: FakeHub, world: VideoWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such model, no connection, no name: one message each."""
    with pytest.raises(CacheError, match="run: hf:me/none: the Hub has no such model or revision"):
        local_run("hf:me/none")
    for wrong in ("hf:none", "hf:a/b/c", "hf:"):
        with pytest.raises(CacheError, match="expected owner/name"):
            local_run(wrong)
    hub.down = True
    with pytest.raises(
        CacheError, match="not in the cache of the Hugging Face Hub on this machine, and the Hub cannot"
    ):
        local_run("hf:me/tiny")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CacheError, match="HF_HUB_OFFLINE is set"):
        local_run("hf:me/tiny")
    with pytest.raises(CacheError, match="to: me/tiny: the Hub refuses, or cannot be reached"):
        main(PushRun(run=world.run, to="me/tiny"))


def test_the_inference_part(world: VideoWorld, tmp_path: Path) -> None:
    """No optimizer, no path of this machine, no ground truth; and a card that says what it is."""
    run = tmp_path / "work" / "tiny"
    shutil.copytree(world.run, run)
    (run / "tuned.json").write_text("{}")
    gather(PushRun(run=run, to="me/<b>x"), tmp_path / "part")
    files = {
        path.relative_to(tmp_path / "part").as_posix() for path in (tmp_path / "part").rglob("*") if path.is_file()
    }
    step = "checkpoint/step-00000008"
    assert files == {
        "README.md", "recipe.json", "encoders.json", f"{step}/state.json", f"{step}/model.safetensors",
        "checkpoint/latest",
    }  # fmt: skip
    for name in files:
        assert str(tmp_path).encode() not in (tmp_path / "part" / name).read_bytes()
        assert str(world.dataset).encode() not in (tmp_path / "part" / name).read_bytes()
    _, head, text = (tmp_path / "part/README.md").read_text().split("---\n", 2)
    assert "mllm4wtal" in yaml.safe_load(head)["tags"]
    for said in ("2 classes: Dive, Jump", "--run hf:me/<b>x", "rgb\\_encoder", "sha256:", "Not evaluated"):
        assert said in text
    with pytest.raises(CacheError, match="exists, expected a folder that does not"):
        main(PushRun(run=run, to="me/x", folder=tmp_path / "part"))
