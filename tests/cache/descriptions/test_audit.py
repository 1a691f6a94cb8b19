"""The audit: what is covered, what is weak, and what stops training."""

import dataclasses
from pathlib import Path

import pytest

from cache.annotations import Dataset, VideoEntry
from cache.descriptions.audit import Coverage, audit, coverage_by_subset
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, FLAGS, TOKENS, Kind, TokenRow
from cache.tables.store import PartStore
from tests.support.data.rows import Made, described, failed


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


def _words(folder: Path, ids: dict[tuple[str, str, Kind], list[int]], *, taken_back: str = "") -> PartStore:
    """A table of tokens; -1 is a word that the word vectors do not have."""
    store = PartStore.create(folder / "words", Made(), TOKENS, key=DESCRIPTION_KEY, table="tokens")
    rows = [
        TokenRow(
            video_id=video_id,
            action_class=label,
            kind=kind,
            description_sha256="" if video_id == taken_back else "0",
            tokens=tuple("w" * len(words)),
            token_ids=tuple(words),
            known=tuple(number >= 0 for number in words),
            is_action_word=(False,) * len(words),
        )
        for (video_id, label, kind), words in ids.items()
    ]
    store.append(rows)
    return store


def test_a_full_cache_is_ok(store):
    """Nothing to say, and rows of other subsets are not counted."""
    store.append([*_everything(), described("t", "Swim")])
    found = audit(DATASET, "training", store, None)
    assert found.ok
    assert (found.errors, found.warnings, found.missing, found.failed) == ((), (), (), ())
    assert found.out_of_vocabulary is None
    assert Coverage("Dive", "key", 2, 2) in found.coverage
    assert len(found.coverage) == 4


def test_rows_of_removed_videos_are_counted_and_stop_nothing(store):
    """By video, whichever subset is looked at; a video of another subset is none of them."""
    gone = [described("z", "Dive"), described("gone", "Dive"), failed("gone", "Swim")]
    store.append([*_everything(), described("t", "Swim"), *gone])
    found = audit(DATASET, "training", store, None)
    assert found.ok
    assert found.removed == {"gone": 2, "z": 1}
    (note,) = found.warnings
    assert note.startswith("3 rows are of 2 videos that the annotations do not have, first 'gone'")


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
    store.append(
        [*rows, failed("b", "Swim"), dataclasses.replace(described("c", "Swim", text=" . "), flags=("empty",))]
    )
    found = audit(DATASET, "training", store, None)
    assert not found.ok
    assert found.errors == ("class 'Swim' has no usable key description in 'training'; run `make priors`",)
    assert found.flagged["empty"] == (("c", "Swim", "key"),)


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


def test_flags_of_the_rows_are_counted(store):
    """By flag, the last row of a key alone; they are notes, and stop nothing."""
    weak = dataclasses.replace(described("a", "Dive"), flags=("loops", "cut"))
    mended = dataclasses.replace(described("b", "Dive"), flags=("refusal",))
    store.append([*(row for row in _everything() if row.kind == "complete"), weak, mended])
    store.append([described("b", "Dive"), described("b", "Swim"), described("c", "Swim")])
    found = audit(DATASET, "training", store, None)
    assert found.ok
    assert list(found.flagged) == list(FLAGS)
    assert {flag: keys for flag, keys in found.flagged.items() if keys} == {
        "loops": (("a", "Dive", "key"),),
        "cut": (("a", "Dive", "key"),),
    }
    assert sorted(warning.split()[0] for warning in found.warnings) == ["1", "1"]


def test_videos_that_were_read_in_part_or_changed_since_are_noted(tmp_path, store):
    """A file of another size is another video; one that is not there any more says nothing."""
    (tmp_path / "b.mp4").write_bytes(bytes(1000))
    (tmp_path / "c.mp4").write_bytes(bytes(1001))
    paths = {"a": tmp_path / "a.mp4", "b": tmp_path / "b.mp4", "c": tmp_path / "c.mp4"}
    videos = tuple(dataclasses.replace(video, path=paths.get(video.video_id)) for video in DATASET.videos)
    rows = [dataclasses.replace(row, partial=row.video_id == "a") for row in _everything()]
    store.append(rows)
    found = audit(dataclasses.replace(DATASET, videos=videos), "training", store, None)
    assert found.stale == (("c", "Swim", "key"), ("c", "Swim", "complete"))
    assert found.partial == (("a", "Dive", "key"), ("a", "Dive", "complete"))
    assert found.ok
    assert len(found.warnings) == 2


def test_coverage_of_every_subset(store):
    """Also of one that nobody described."""
    store.append([*_everything(), described("t", "Swim", "key")])
    found = coverage_by_subset(DATASET, store)
    assert sum(row.ok for row in found["training"]) == sum(row.expected for row in found["training"]) == 8
    assert [(row.ok, row.expected) for row in found["testing"]] == [(0, 0), (0, 0), (1, 1), (0, 1)]


def test_the_audit_reads_no_texts(store, monkeypatch):
    """Its memory does not grow with them."""
    store.append(_everything())
    asked = []
    rows = PartStore.rows
    monkeypatch.setattr(PartStore, "rows", lambda self, columns: asked.extend(columns) or rows(self, columns))
    monkeypatch.delattr(PartStore, "table")
    assert audit(DATASET, "training", store, None).ok
    assert asked
    assert not {"description", "prompt", "frame_seconds"} & set(asked)


def test_the_share_of_unknown_words_is_counted_over_the_subset(store, tmp_path):
    """Tokens, not texts; and other subsets do not count."""
    rows = _everything()
    store.append(rows)
    ids = {(row.video_id, row.action_class, row.kind): [0, 0, 0, -1] for row in rows}
    ids["a", "Dive", "key"] = [-1] * 8
    ids["t", "Swim", "key"] = [-1] * 100
    found = audit(DATASET, "training", store, _words(tmp_path, ids))
    assert found.out_of_vocabulary == pytest.approx((8 + 7) / (8 + 7 * 4))
    assert found.ok


@pytest.mark.parametrize("taken_back", ["", "a"])
def test_descriptions_without_vectors_stop_training(store, tmp_path, taken_back):
    """Embeddings older than the descriptions, or the words of an older text that were taken back."""
    rows = _everything()
    store.append(rows)
    ids = {(row.video_id, row.action_class, row.kind): [0] for row in rows[0 if taken_back else 1 :]}
    found = audit(DATASET, "training", store, _words(tmp_path, ids, taken_back=taken_back))
    count = "2 descriptions have" if taken_back else "1 description has"
    assert found.errors == (f"{count} no word vectors yet, first ('a', 'Dive', 'key'); run `make priors`",)
