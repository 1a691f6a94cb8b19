"""Where a pretrained model is: a folder, the Hugging Face cache, the Hub; or nowhere."""

from pathlib import Path

import pytest

from priors.pretrained import availability
from priors.pretrained.availability import Available, available, first_available
from tests.support.models.hub_cache import cached


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a Hub that has nothing."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(availability, "_on_hub", lambda model: None)
    return tmp_path / "hub"


def test_preferred_models_go_before_others_and_the_cache_before_the_hub(cache: Path, monkeypatch) -> None:
    """Of several, the first that is complete; any other one of a known kind; and only then a download."""
    monkeypatch.setattr(availability, "_on_hub", lambda model: Available(model, "hub", 10))
    assert first_available(("x/first", "x/second"), kinds=("qwen",)) == Available("x/first", "hub", 10)
    cached(cache, "x/other", kind="bert")
    assert first_available(("x/first", "x/second"), kinds=("qwen",)) == Available("x/first", "hub", 10)
    cached(cache, "z/known", kind="qwen")
    assert first_available(("x/first", "x/second"), kinds=("qwen",)) == Available("z/known", "cache")
    cached(cache, "x/first", kind="qwen", missing=True)
    cached(cache, "x/second", kind="qwen")
    assert first_available(("x/first", "x/second"), kinds=("qwen",)) == Available("x/second", "cache")


def test_a_named_model_is_a_folder_a_cached_one_or_none(cache: Path, tmp_path: Path) -> None:
    """One of which a file of weights is missing is none."""
    cached(cache, "x/whole", kind="a")
    cached(cache, "x/part", kind="a", missing=True)
    assert available(str(tmp_path)) == Available(str(tmp_path), "folder")
    assert available("x/whole") == Available("x/whole", "cache")
    assert available("x/part") is None
    assert available("no id") is None
