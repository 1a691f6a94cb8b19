"""Which models the road takes: named ones, those that the machine has, or one message with all that is missing."""

from pathlib import Path

import pytest

from cache.errors import CacheError
from pipelines.own.models import DESCRIBERS, ENCODERS, Asked, choose
from priors.pretrained import availability
from tests.support.models.hub_cache import cached


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a Hub that has nothing."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(availability, "_on_hub", lambda model: None)
    return tmp_path / "hub"


def test_all_that_is_missing_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do, and never the tiny models by themselves."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CacheError) as told:
        choose(Asked())
    lines = str(told.value)
    for part in (f"hf download {ENCODERS[0]}", f"hf download {DESCRIBERS[0]}", "--words", "--describer none", "--tiny"):
        assert part in lines
    with pytest.raises(CacheError, match="describer: x/y is no folder here"):
        choose(Asked(describer="x/y"))
    with pytest.raises(CacheError, match="tiny: found it beside encoder, expected one or the other"):
        choose(Asked(tiny=True, encoder="x/y"))


def test_i3d_is_two_weight_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of them; one alone is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rgb_imagenet.pt").touch()
    with pytest.raises(CacheError, match=r"encoder: i3d: no flow_imagenet\.pt in this folder"):
        choose(Asked(encoder="i3d", describer="none"))
    (tmp_path / "flow_imagenet.pt").touch()
    rows = choose(Asked(encoder="i3d", describer="none")).rows()
    assert rows[0] == ["features", "i3d", "rgb_imagenet.pt, flow_imagenet.pt"]


def test_what_is_there_is_taken(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached encoder and describer, and word vectors in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "glove.6B.300d.txt").touch()
    cached(cache, ENCODERS[1], kind="videomae")
    cached(cache, "Qwen/Qwen2-VL-2B-Instruct", kind="qwen2_vl")
    models = choose(Asked())
    assert models.rows() == [
        ["features", ENCODERS[1], "Hugging Face cache"],
        ["descriptions", "Qwen/Qwen2-VL-2B-Instruct", "Hugging Face cache"],
        ["word vectors", "glove.6B.300d.txt", "file"],
    ]
    assert choose(models.asked()) == models
