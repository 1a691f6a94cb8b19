"""Lengths, vocabulary and differences of caches, against plain re-statements."""

import dataclasses
import os
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.descriptions.differences import differences, similarity, word_differences
from cache.descriptions.statistics import COLUMNS, describe, log_odds, out_of_vocabulary
from cache.errors import CacheError
from cache.tables.folders import cache_folders, embeddings_of, newest_folder
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.tables.store import PartStore
from tests.support.data.rows import Made, described, failed


def store_of(root, rows, version: int = 1) -> PartStore:
    """A store with one part."""
    store = PartStore.create(root, Made(version=version), DESCRIPTIONS, key=DESCRIPTION_KEY)
    store.append(rows)
    return store


def test_lengths_and_words(tmp_path):
    """By kind and class; failed rows have no text to count."""
    texts = [" ".join(["word"] * n) for n in range(1, 22)]
    rows = [described(f"v{n}", "Dive", "key", text) for n, text in enumerate(texts)]
    rows += [described("w", "Swim", "complete", "He swims, he swims and he turns."), failed("x")]
    rows[0] = dataclasses.replace(rows[0], new_tokens=45)
    found = describe(store_of(tmp_path, rows).rows(COLUMNS))
    key = found.words["key"]
    assert (key.count, key.least, key.median, key.most) == (21, 1, 11, 21)
    assert (key.low, key.high) == tuple(np.quantile(range(1, 22), [0.05, 0.95]))
    assert key.mean == pytest.approx(11)
    assert found.new_tokens["key"].mean == pytest.approx((20 * 3 + 45) / 21)
    assert (found.total_words, found.distinct_words) == (231 + 7, 5)
    swim = found.classes[1]
    assert (swim.action_class, swim.texts, swim.words) == ("Swim", 1, 7)
    assert swim.frequent == (("swims", 2), ("turns", 1))
    assert next(iter(dict(swim.telling))) == "swims"


def test_nothing_described(tmp_path):
    """An empty cache has statistics, too."""
    found = describe(store_of(tmp_path, [failed("x")]).rows(COLUMNS))
    assert (found.words, found.total_words, found.classes) == ({}, 0, ())


WORDS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 50), min_size=1)


@given(WORDS, WORDS)
def test_log_odds_are_positive_for_what_is_said_more_often(group, rest):
    """Against the plain shares of the group and of the rest."""
    everything = {word: group.get(word, 0) + rest.get(word, 0) for word in {*group, *rest}}
    inside, outside = sum(group.values()), sum(rest.values())
    for word, score in log_odds(group, everything).items():
        # The prior draws both sides to the share over all, so the order of the plain shares stays.
        gap = group[word] / inside - rest.get(word, 0) / outside
        if len(everything) > 1 and abs(gap) > 1e-9:
            assert np.sign(score) == np.sign(gap)


def test_out_of_vocabulary():
    """Each unknown token as often as it stands there."""
    rows = [
        {"tokens": ["a", "zzz", "zzz"], "known": [True, False, False]},
        {"tokens": ["yyy", "a"], "known": [False, True]},
    ]
    total, unknown = out_of_vocabulary(rows)
    assert total == 5
    assert unknown.most_common() == [("zzz", 2), ("yyy", 1)]


TEXTS = st.lists(st.sampled_from(["he", "runs", "jumps", "and", "", "lands."]), max_size=12).map(" ".join)


@given(TEXTS, TEXTS)
def test_word_differences_give_both_texts_back(one, other):
    """Nothing is lost and nothing invented; equal texts differ nowhere."""
    spans = word_differences(one, other)
    assert " ".join(span.text for span in spans if span.where != "other") == one
    assert " ".join(span.text for span in spans if span.where != "one") == other
    assert (one == other) == all(span.where == "both" for span in spans)


@given(TEXTS, TEXTS)
def test_similarity(one, other):
    """Symmetric, 1 for the same words in any order, 0 without a common word."""
    value = similarity(one, other)
    assert 0 <= value <= 1
    assert value == similarity(other, one)
    assert similarity(one, " ".join(reversed(one.split()))) == 1
    assert similarity("he runs", "she walks") == 0


def test_differences_of_two_caches(tmp_path):
    """Keys of the one alone, equal texts, and the changed ones, the least alike first; failed rows are not there."""
    ids = [f"v{n}" for n in range(8)]
    one = store_of(tmp_path / "1", [*(described(v, text="he runs and jumps") for v in ids), failed("w")])
    rows = [described(v, text="he runs and jumps") for v in ids[2:5]]
    rows += [described("v5", text="he walks and jumps"), described("v6", text="nothing alike"), failed("v7")]
    other = store_of(tmp_path / "2", [*rows, described("w", text="new")], version=2)
    found = differences(one, other, shown=1)
    assert found.only_one == tuple((v, "Dive", "key") for v in ("v0", "v1", "v7"))
    assert found.only_other == (("w", "Dive", "key"),)
    assert (found.same, found.changed) == (3, 2)
    assert found.similarity == pytest.approx((3 + 0.75 + 0) / 5)
    assert [item.key[0] for item in found.least_alike] == ["v6"]
    assert (found.one.words["key"].count, found.other.words["key"].count) == (8, 6)
    twin = differences(one, one)
    assert (twin.only_one, twin.only_other, twin.changed, twin.similarity) == ((), (), 0, 1.0)


def test_differences_hold_for_any_order_of_keys(tmp_path):
    """Keys are joined as Arrow sorts them: by their bytes, which is by their characters."""
    ids = ["a", "Z", "é", "zz", "\uffff", "\U0001f3c3", "-x"]
    one = store_of(tmp_path / "1", [described(v) for v in ids])
    other = store_of(tmp_path / "2", [described(v) for v in reversed(ids[::2])])
    found = differences(one, other)
    assert found.same == 4
    assert {key[0] for key in found.only_one} == set(ids[1::2])


def test_folders_are_listed_with_what_is_wrong(tmp_path):
    """The newest usable one is taken; one that is empty, damaged or of another schema is listed and passed over."""
    old = store_of(tmp_path, [described("a"), described("b")], version=1)
    new = store_of(tmp_path, [described("a")], version=2)
    for store, day in ((old, 1), (new, 2)):
        stamp = datetime(2024, 1, day, tzinfo=UTC).timestamp()
        for part in store.folder.glob("part-*"):
            os.utime(part, (stamp, stamp))
    PartStore.create(tmp_path, Made(version=3), DESCRIPTIONS, key=DESCRIPTION_KEY)
    broken = store_of(tmp_path, [described("a")], version=4)
    next(broken.folder.glob("part-*")).write_bytes(b"PAR1")
    (tmp_path / ".hidden").mkdir()
    folders = {folder.path: folder for folder in cache_folders(tmp_path)}
    assert len(folders) == 4
    assert (folders[old.home].rows, folders[old.home].parts, folders[old.home].problem) == (2, 1, "")
    assert folders[old.home].bytes == sum(part.stat().st_size for part in old.folder.glob("part-*"))
    assert folders[new.home].changed == datetime(2024, 1, 2, tzinfo=UTC)
    assert folders[broken.home].problem
    assert newest_folder(tmp_path).path == new.home
    assert embeddings_of(tmp_path, "x") == []
    for folder in (old.home, new.home):
        for part in folder.glob("part-*"):
            part.unlink()
    with pytest.raises(CacheError, match=r"can be used; run `make priors`(?s:.*)holds no rows yet"):
        newest_folder(tmp_path)
    assert cache_folders(tmp_path / "nowhere") == []


def test_model_of_a_folder(tmp_path):
    """Descriptions are named by model and revision, embeddings by their word vectors."""
    store = store_of(tmp_path, [described("a")])
    (folder,) = cache_folders(tmp_path)
    assert folder.model == "unknown"
    for recipe, name in (
        ('{"model": "big", "model_revision": "0123456789abcdef"}', "big @ 0123456789ab"),
        ('{"word_vectors": "glove.txt", "descriptions": "ff"}', "glove.txt"),
    ):
        (store.home / "recipe.json").write_text(recipe)
        (folder,) = cache_folders(tmp_path)
        assert folder.model == name
    assert [one.path for one in embeddings_of(tmp_path, "ff")] == [store.home]
    assert embeddings_of(tmp_path, "00") == []
