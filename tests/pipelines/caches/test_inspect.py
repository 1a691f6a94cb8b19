"""`make inspect`: what it prints, what it hands to machines, and what it says of two caches."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cache.annotations import Dataset, VideoEntry
from cache.errors import CacheError
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, KINDS
from cache.tables.store import PartStore
from pipelines.caches.inspect import InspectRun, main
from pipelines.caches.inspect_print import size
from tests.support.command_line import parse
from tests.support.data.caches import HOSTILE, LABEL, MadeBy, said, small_cache
from tests.support.data.rows import failed


@pytest.fixture
def store(tmp_path: Path) -> PartStore:
    """The small cache, in the folder of its dataset."""
    return small_cache(tmp_path)


def shown(capsys: pytest.CaptureFixture, recipe: InspectRun, code: int | None = None) -> str:
    """What is printed."""
    found = main(recipe)
    assert code in (None, found)
    return capsys.readouterr().out


def test_everything_is_counted(tmp_path, store, capsys):
    """Subsets, folders, coverage, failures with grouped reasons, flags with examples, lengths, words, samples."""
    text = shown(capsys, InspectRun(dataset=tmp_path), code=0)
    assert re.search(r"training +4 +1 +0 +4 +0", text)
    assert re.search(rf"{store.home.name} +canned @ 1 .* 7 +2 .*shown below", text), "rows and files of the folder"
    assert re.search(r"training +2/4 +1/4", text)
    assert re.search(r"testing +0/2 +0/2", text)
    assert re.search(rf"{LABEL} +2/4 +1/4", text)
    assert "3 missing, 2 failed, 0 partial, 0 stale" in text
    assert re.search(re.escape(f"no video {HOSTILE}") + r" +2", text), "one reason, two keys"
    assert re.search(r"loops +1\b", text)
    assert f"loops: v, {LABEL}, complete: kick kick kick kick" in text
    assert re.search(r"key +2 +\S+ +3 ", text)
    assert "out of the vocabulary" in text
    assert "kick (4)" in text
    assert "key: He kicks; high." in text
    assert "older reason" not in text
    assert "stops training: class 'Swim' occurs in no video of 'training'" in text


@pytest.mark.parametrize("form", [{}, {"as_json": True}, {"html": Path("gallery.html")}])
def test_looking_at_a_cache_with_failures_is_no_failure(tmp_path, store, monkeypatch, capsys, form):
    """Exit code 0 in every form, and 1 where it was asked to be complete."""
    monkeypatch.chdir(tmp_path)
    assert main(InspectRun(dataset=tmp_path, **form)) == 0
    assert main(InspectRun(dataset=tmp_path, strict=True, **form)) == 1


@pytest.mark.parametrize("gap", ["none", "missing", "failed", "class"])
def test_strict_asks_for_everything(tmp_path, capsys, gap):
    """A missing or failed description and a class without one are each enough; a whole cache is complete."""
    classes = (LABEL, "Swim") if gap == "class" else (LABEL,)
    names = ("v", "w") if gap in ("missing", "failed") else ("v",)
    videos = tuple(VideoEntry(name, "training", None, (LABEL,), (), None) for name in names)
    Dataset("tiny", classes, videos).save(tmp_path / "annotations.json")
    store = PartStore.create(tmp_path / "descriptions", MadeBy(), DESCRIPTIONS, key=DESCRIPTION_KEY)
    store.append([said("v", kind, "He kicks.") for kind in KINDS])
    if gap == "failed":
        store.append([failed("w", LABEL, kind) for kind in KINDS])
    assert main(InspectRun(dataset=tmp_path, strict=True)) == (0 if gap == "none" else 1)


def test_machines_get_one_document(tmp_path, store, capsys):
    """Nothing but JSON on stdout; the figures of the tables."""
    found = json.loads(shown(capsys, InspectRun(dataset=tmp_path, as_json=True)))
    assert found["looked_at"] == str(store.home)
    assert found["descriptions"][0]["rows"] == 7
    assert found["audit"]["flagged"]["loops"] == [["v", LABEL, "complete"]]
    assert found["reasons"] == {f"no video {HOSTILE}": 2}
    assert found["statistics"]["words"]["complete"]["mean"] == 4
    assert sum(found["unknown_words"].values()) <= found["tokens"]
    assert [row["text"] for row in found["samples"][:2]] == ["He kicks; high.", "kick kick kick kick"]


def test_rows_of_videos_that_are_no_longer_there_are_named(tmp_path, store, capsys):
    """With how many rows of each are left, in the tables and for machines; nothing is said where there are none."""
    assert "annotations do not have" not in shown(capsys, InspectRun(dataset=tmp_path))
    dataset = Dataset.load(tmp_path / "annotations.json")
    left = tuple(video for video in dataset.videos if video.video_id != "bad")
    replace(dataset, videos=left).save(tmp_path / "annotations.json")
    text = shown(capsys, InspectRun(dataset=tmp_path))
    assert re.search(r"Rows of videos that the annotations do not have(?:.*\n)+? +bad +2 *\n", text)
    assert "note: 2 rows are of 1 video that the annotations do not have, first 'bad'" in text
    found = json.loads(shown(capsys, InspectRun(dataset=tmp_path, as_json=True)))
    assert found["audit"]["removed"] == {"bad": 2}


def test_one_video_or_class(tmp_path, store, capsys):
    """Samples and statistics of what was chosen; a name that is not there names the nearest."""
    text = shown(capsys, InspectRun(dataset=tmp_path, video="bad"))
    assert f"key: failed: no video {HOSTILE}" in text
    assert "He kicks" not in text
    found = json.loads(shown(capsys, InspectRun(dataset=tmp_path, video="v", as_json=True)))
    assert found["statistics"]["words"]["key"]["count"] == 1
    found = json.loads(shown(capsys, InspectRun(dataset=tmp_path, action_class="Swim", as_json=True)))
    assert found["samples"] == []
    with pytest.raises(CacheError, match=r"has no video 'badd'; did you mean 'bad'"):
        main(InspectRun(dataset=tmp_path, video="badd"))
    with pytest.raises(CacheError, match=r"did you mean 'High Kick'"):
        main(InspectRun(dataset=tmp_path, action_class="HighKick"))


def test_of_several_folders_the_newest_is_taken(tmp_path, store, capsys):
    """All are listed; the choice is said; a damaged one is listed with its defect and stops nothing."""
    other = small_cache(tmp_path, revision="2", texts={"v": "Another text."})
    for part in other.folder.glob("part-*"):
        os.utime(part, (1e9, 1e9))
    damaged = small_cache(tmp_path, revision="3")
    for part in damaged.folder.glob("part-*"):
        part.write_bytes(b"nothing")
    text = shown(capsys, InspectRun(dataset=tmp_path))
    assert f"Details of {store.home}" in text
    assert "He kicks; high." in text
    assert re.search(rf"{other.home.name} +canned @ 2 +2001-09-09", text)
    assert damaged.home.name in text
    text = shown(capsys, InspectRun(dataset=tmp_path, descriptions=other.home))
    assert "key: Another text." in text


def test_two_caches_side_by_side(tmp_path, store, capsys):
    """Counts and the words that changed; without a choice the other side is the newest beside it."""
    other = small_cache(tmp_path, revision="2", texts={"v": "He jumps; high."})
    text = shown(capsys, InspectRun(dataset=tmp_path, diff=store.home), code=0)
    assert f"A: {other.home}\nB: {store.home}" in text
    assert re.search(r"changed text +1\b", text)
    assert re.search(r"same text +2\b", text)
    assert "He [-jumps;-] {+kicks;+} high." in text
    found = json.loads(
        shown(capsys, InspectRun(dataset=tmp_path, descriptions=store.home, diff=other.home, as_json=True))
    )
    assert found["least_alike"][0]["one"] == "He kicks; high."
    with pytest.raises(CacheError, match=r"leave out --diff or --html"):
        main(InspectRun(dataset=tmp_path, diff=store.home, html=tmp_path / "x.html"))
    with pytest.raises(CacheError, match="no such table"):
        main(InspectRun(dataset=tmp_path, diff=tmp_path / "nowhere"))


def test_nothing_yet(tmp_path):
    """The message names the command."""
    small_cache(tmp_path)
    (tmp_path / "descriptions").rename(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match="make priors"):
        main(InspectRun(dataset=tmp_path))


def test_json_is_an_option():
    """As it is typed."""
    assert parse("inspect", "smoke", "--json", "--video", "v").model_dump()["as_json"]


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 B"), (1500, "1.5 kB"), (2_000_000, "2.0 MB"), (10**10, "10.0 GB")]
)
def test_size(count, text):
    """Bytes read well."""
    assert size(count) == text
