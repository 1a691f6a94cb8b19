"""The audit: what is covered, what is weak, and what stops training."""

import dataclasses

import numpy as np
import pytest
from rows import Made, described, failed

from cache.annotations import Dataset, VideoEntry
from cache.audit import Coverage, audit, is_degenerate
from cache.embeddings import PriorText, PriorTexts
from cache.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.store import PartStore


def _video(video_id: str, *labels: str, subset: str = "training") -> VideoEntry:
    return VideoEntry(video_id, subset, None, labels, (), None)


DATASET = Dataset(
    "pool",
    ("Dive", "Swim"),
    (_video("a", "Dive"), _video("b", "Dive", "Swim"), _video("c", "Swim"), _video("t", "Swim", subset="testing")),
)


@pytest.fixture
def store(tmp_path) -> PartStore:
    """An empty store of descriptions."""
    return PartStore.create(tmp_path, Made(), DESCRIPTIONS, key=DESCRIPTION_KEY)


def _everything() -> list:
    keys = [(video, label) for video in DATASET.split("training") for label in video.labels]
    return [described(video.video_id, label, kind) for video, label in keys for kind in ("key", "complete")]


def _texts(ids: dict[tuple[str, str, str], list[int]]) -> PriorTexts:
    rows = {
        key: PriorText(tuple("w" * len(words)), np.array(words), np.zeros(len(words), bool))
        for key, words in ids.items()
    }
    return PriorTexts(("w",), np.ones((1, 2), np.float32), rows)


def test_a_full_cache_is_ok(store):
    """Nothing to say, and rows of other subsets and videos are not counted."""
    store.append([*_everything(), described("t", "Swim"), failed("elsewhere")])
    found = audit(DATASET, "training", store, None)
    assert found.ok
    assert (found.errors, found.warnings, found.missing, found.failed) == ((), (), (), ())
    assert found.out_of_vocabulary is None
    assert Coverage("Dive", "key", 2, 2) in found.coverage
    assert len(found.coverage) == 4


def test_gaps_are_named_and_do_not_stop_training(store):
    """Missing and failed keys are listed with reasons; each class still has a key description, so training can run."""
    rows = [row for row in _everything() if row.video_id != "a"]
    store.append([*rows, failed("a", "Dive", "key", "truncated: decoded 3.1 s of 40.0 s")])
    found = audit(DATASET, "training", store, None)
    assert found.ok
    assert found.missing == (("a", "Dive", "complete"),)
    assert found.failed == ((("a", "Dive", "key"), "truncated: decoded 3.1 s of 40.0 s"),)
    assert Coverage("Dive", "key", 1, 2) in found.coverage
    assert all("make priors" in warning for warning in found.warnings)


def test_a_class_without_a_key_description_stops_training(store):
    """Failed and empty ones do not count, and the message names class and command."""
    rows = [row for row in _everything() if (row.action_class, row.kind) != ("Swim", "key")]
    store.append([*rows, failed("b", "Swim"), described("c", "Swim", text=" . ")])
    found = audit(DATASET, "training", store, None)
    assert not found.ok
    assert found.errors == ("class 'Swim' has no usable key description in 'training'; run `make priors`",)
    assert found.empty == (("c", "Swim", "key"),)


def test_no_complete_description_at_all_stops_training(store):
    """There would be nothing to reconstruct."""
    store.append([row for row in _everything() if row.kind == "key"])
    found = audit(DATASET, "training", store, None)
    assert [error for error in found.errors if "complete" in error]
    assert len([warning for warning in found.warnings if "complete" in warning]) == 2


def test_a_class_without_videos_stops_training(store):
    """Nothing can be learnt of it."""
    store.append(_everything())
    more = dataclasses.replace(DATASET, classes=("Dive", "Fly", "Swim"))
    assert any("'Fly' occurs in no video" in error for error in audit(more, "training", store, None).errors)


def test_weak_texts_are_found(store):
    """Going round in circles, repeating the prompt, cut at the limit."""
    loop = described("a", "Dive", "key", "he jumps and " * 8)
    echo = described("b", "Dive", "key", "Describe Dive.")
    cut = dataclasses.replace(described("c", "Swim", "key"), finish_reason="length")
    store.append([*(row for row in _everything() if row.kind == "complete"), loop, echo, cut, described("b", "Swim")])
    found = audit(DATASET, "training", store, None)
    assert set(found.degenerate) == {("a", "Dive", "key"), ("b", "Dive", "key")}
    assert found.cut == (("c", "Swim", "key"),)
    assert found.ok


def test_a_natural_sentence_is_not_degenerate():
    """Function words repeat in every long text."""
    text = (
        "The person runs to the edge of the pool, jumps into the air, turns once and enters the water with the hands."
    )
    assert not is_degenerate(text, prompt="Describe.")
    assert is_degenerate("no no no no no no no no no no", prompt="Describe.")


def test_the_share_of_unknown_words_is_counted_over_the_subset(store):
    """Tokens, not texts; and other subsets do not count."""
    rows = _everything()
    store.append(rows)
    ids = {(row.video_id, row.action_class, row.kind): [0, 0, 0, -1] for row in rows}
    ids["a", "Dive", "key"] = [-1] * 8
    ids["t", "Swim", "key"] = [-1] * 100
    found = audit(DATASET, "training", store, _texts(ids))
    assert found.out_of_vocabulary == pytest.approx((8 + 7) / (8 + 7 * 4))
    assert found.ok


def test_descriptions_without_vectors_stop_training(store):
    """Embeddings older than the descriptions."""
    rows = _everything()
    store.append(rows)
    ids = {(row.video_id, row.action_class, row.kind): [0] for row in rows[1:]}
    found = audit(DATASET, "training", store, _texts(ids))
    assert found.errors == ("1 descriptions have no word vectors yet, first ('a', 'Dive', 'key'); run `make priors`",)
