"""Batches: what is drawn, that it depends on seed and step alone, and that it never looks at segments."""

import dataclasses
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from cache.annotations import Dataset, Segment
from cache.descriptions.class_texts import class_words
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.tables.embeddings import PriorTexts
from tests.support.data.toy_data import CLASSES, GRID, LABELS, toy_dataset, toy_store, toy_texts
from tests.support.paths import ROOT
from training.batches.data import Batch, DataRecipe, WtalData
from training.batches.sampling import stratified
from training.batches.texts import MASK_WEIGHTS, MaskPolicy, TextChoice, draw_masked
from training.errors import TrainingError

RECIPE = DataRecipe(num_snippets=16, num_pairs=2, singles=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the toy dataset."""
    path = tmp_path_factory.mktemp("features")
    toy_store(path, toy_dataset())
    return path


def load(
    folder: Path, recipe: DataRecipe = RECIPE, *, dataset: Dataset | None = None, seed: int = 0, **kwargs
) -> WtalData:
    """The toy data."""
    dataset = dataset or toy_dataset()
    texts = kwargs["texts"] if "texts" in kwargs else toy_texts(toy_dataset())
    choice = kwargs.get("choice", TextChoice())
    return WtalData(dataset, toy_store(folder, toy_dataset()), texts, recipe=recipe, seed=seed, choice=choice)


def tensors(value: object) -> list[torch.Tensor]:
    """All tensors in a batch."""
    if isinstance(value, torch.Tensor):
        return [value]
    if dataclasses.is_dataclass(value):
        return [t for field in dataclasses.fields(value) for t in tensors(getattr(value, field.name))]
    return []


def same(first: Batch, second: Batch) -> bool:
    """Whether two batches are equal to the last bit."""
    pairs = zip(tensors(first), tensors(second), strict=True)
    return first.video_ids == second.video_ids and all(torch.equal(a, b) for a, b in pairs)


def test_a_batch_depends_on_seed_and_step_alone(folder: Path):
    """Whatever was drawn before, step 7 gives the same batch; another step or seed gives another."""
    data, other = load(folder), load(folder)
    for step in range(5):
        other.batch(step)
    assert same(data.batch(7), other.batch(7))
    assert not same(data.batch(7), data.batch(8))
    assert not same(data.batch(7), load(folder, seed=1).batch(7))


def test_segments_are_never_read(folder: Path):
    """Scrambling every segment of the training videos changes nothing."""
    dataset = toy_dataset()
    scrambled = [
        dataclasses.replace(video, segments=tuple(Segment(s.label, 90.0, 91.0) for s in video.segments[::-1]))
        for video in dataset.videos
    ]
    changed = dataclasses.replace(dataset, videos=tuple(scrambled))
    first, second = load(folder), load(folder, dataset=changed)
    assert all(same(first.batch(step), second.batch(step)) for step in range(5))
    assert first.fingerprint() == second.fingerprint()


def test_the_fingerprint_covers_features_and_their_order(tmp_path: Path):
    """Features that were encoded again on the same grid are other data, and so are swapped streams."""
    dataset = toy_dataset()
    before = WtalData(dataset, toy_store(tmp_path, dataset), None, recipe=RECIPE, seed=0)
    prints = [before.fingerprint()]
    assert WtalData(dataset, toy_store(tmp_path, dataset), None, recipe=RECIPE, seed=0).fingerprint() == prints[0]
    store = FeatureStore.open(tmp_path)
    store.save("test", store.load("test") + 1)  # no training video
    assert WtalData(dataset, store, None, recipe=RECIPE, seed=0).fingerprint() == prints[0]
    swapped = FeatureStore(tmp_path, GRID.model_copy(update={"streams": {"flow": 4, "rgb": 6}}))
    prints.append(WtalData(dataset, swapped, None, recipe=RECIPE, seed=0).fingerprint())
    store.save("v0", store.load("v0") + 1)
    prints.append(WtalData(dataset, store, None, recipe=RECIPE, seed=0).fingerprint())
    assert len(set(prints)) == 3


def test_more_videos_than_files_may_be_open(tmp_path: Path):
    """A thousand videos are read where a process may have 256 descriptors: old ones are closed."""
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.support.data.toy_data import CLASSES, GRID\n"
        "from cache.annotations import Dataset, VideoEntry; from cache.features import FeatureStore\n"
        "from training.batches.data import DataRecipe, WtalData\n"
        "import training.batches.data, numpy as np, os\n"
        "store = FeatureStore.create(Path(sys.argv[1]), GRID)\n"
        "store.save('v0', np.ones((2, GRID.width), np.float32))\n"
        "for i in range(1, 1000): os.link(store.path('v0'), store.path(f'v{i}'))\n"
        "videos = tuple(VideoEntry(f'v{i}', 'training', None, (CLASSES[i % 3],), (), None) for i in range(1000))\n"
        "data = WtalData(Dataset('many', CLASSES, videos), store, None, recipe=DataRecipe(), seed=0)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (training.batches.data._OPEN_FILES + 64,) * 2)\n"
        "print(sum(len(batch.video_ids) for batch in data.whole(64)), data.batch(0).features.shape[0])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", code, str(tmp_path / "features")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1000", "10"], done.stderr


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_features_come_as_they_are_stored(tmp_path: Path, dtype: type[np.floating]):
    """Of either type, drawn snippets are those rows of the file, and nothing of an earlier batch is left at padding."""
    dataset = toy_dataset()
    store = FeatureStore.create(tmp_path, GRID)
    for number, video in enumerate(dataset.videos):
        store.save(video.video_id, np.random.default_rng(number).normal(size=(6 + 4 * number, 10)).astype(dtype))
    data = WtalData(dataset, store, None, recipe=RECIPE, seed=0)
    for batch in map(data.batch, range(5)):
        for row, video_id in enumerate(batch.video_ids):
            count = int(batch.targets.mask[row].sum())
            stored = store.load(video_id)[batch.snippets[row, :count].numpy()]
            assert np.array_equal(batch.features[row, :count], stored.astype(np.float32))
            assert not batch.features[row, count:].any()


def test_arms_share_their_videos(folder: Path):
    """Runs that differ in texts, masks or priors see the same videos and the same snippets."""
    arms = [
        load(folder, texts=None),
        load(folder, choice=TextChoice(queries="class_name", sentences="template", mask="uniform")),
    ]
    for step in range(5):
        expected = load(folder).batch(step)
        for arm in arms:
            batch = arm.batch(step)
            assert batch.video_ids == expected.video_ids
            assert torch.equal(batch.features, expected.features)


def test_pairs_share_a_class(folder: Path):
    """Both members of a pair are different videos of a common class, and labels are the annotations'."""
    data = load(folder)
    for step in range(20):
        batch = data.batch(step)
        assert batch.targets.pairs.tolist() == [[0, 1], [2, 3]]
        for first, second in batch.targets.pairs.tolist():
            assert batch.video_ids[first] != batch.video_ids[second]
            assert (batch.targets.labels[first] * batch.targets.labels[second]).sum() >= 1
        for video_id, labels in zip(batch.video_ids, batch.targets.labels, strict=True):
            assert labels.nonzero().flatten().tolist() == list(LABELS[int(video_id[1:])])


def with_labels(labels: list[tuple[str, ...]]) -> Dataset:
    """The toy dataset with fewer videos and other labels."""
    videos = [
        dataclasses.replace(v, labels=names, segments=())
        for v, names in zip(toy_dataset().videos, labels, strict=False)
    ]
    return Dataset("toy", CLASSES, tuple(videos))


def test_a_class_with_one_video_is_never_paired(folder: Path):
    """Pairs come from the classes with two videos; where there is none the batch keeps its size without pairs."""
    one = with_labels([(CLASSES[0],), (CLASSES[0],), (CLASSES[1],), (CLASSES[2],)])
    data = load(folder, dataset=one, texts=None)
    for step in range(20):
        batch = data.batch(step)
        assert set(batch.video_ids[:4]) == {"v0", "v1"}
    none = load(folder, dataset=with_labels([(CLASSES[0],), (CLASSES[1],), (CLASSES[2],)]), texts=None)
    batch = none.batch(0)
    assert batch.targets.pairs.shape == (0, 2)
    assert len(batch.video_ids) == 6


def test_long_videos_are_resampled_and_short_ones_padded(folder: Path):
    """No video is longer than num_snippets; mask, zeros and scale tell what was done."""
    data = load(folder)
    lengths = dict(zip(data.video_ids, data.lengths(), strict=True))
    assert min(lengths.values()) < 16 < max(lengths.values())
    for step in range(5):
        batch = data.batch(step)
        for row, video_id in enumerate(batch.video_ids):
            count = int(batch.targets.mask[row].sum())
            assert count == min(16, lengths[video_id])
            assert batch.targets.mask[row, :count].all()
            assert not batch.features[row, count:].any()
            assert batch.scale[row] == pytest.approx(count / lengths[video_id])
            original = data.store.load(video_id)
            kept = batch.features[row, :count].numpy()
            assert all((kept[i] == original).all(axis=1).any() for i in range(count))
            if lengths[video_id] <= 16:
                assert np.array_equal(kept, original)


def test_stretching_fills_every_row(folder: Path):
    """With stretch every video has num_snippets snippets, in order, as in the CO2 family."""
    batch = load(folder, RECIPE.model_copy(update={"stretch": True})).batch(0)
    assert batch.targets.mask.all()
    assert batch.features.shape[1] == 16


@pytest.mark.parametrize(("length", "count"), [(100, 7), (16, 16), (17, 16), (5, 16)])
def test_stratified_draws_once_in_each_bin(length: int, count: int):
    """Position i lies in bin i, and every position of a bin comes up about equally often."""
    rng = np.random.default_rng(0)
    draws = np.stack([stratified(length, count, rng) for _ in range(2000)])
    for i in range(count):
        low, high = i * length // count, max((i + 1) * length // count, i * length // count + 1)
        assert set(draws[:, i]) == set(range(low, high))
        shares = np.bincount(draws[:, i] - low) / len(draws)
        assert np.allclose(shares, 1 / (high - low), atol=0.06)


def decoded(data: WtalData, ids: torch.Tensor, mask: torch.Tensor) -> tuple[str, ...]:
    """Words behind ids."""
    assert data.texts is not None
    names = ("<pad>", "<mask>", "<unk>", *data.texts.vocabulary.words)
    return tuple(names[i] for i in ids[mask].tolist())


def test_texts_belong_to_their_class_and_video(folder: Path):
    """Key texts are descriptions of their class; a sentence is a complete description of its own video."""
    data, texts = load(folder), toy_texts(toy_dataset())

    def known(kind: str, **where: str) -> set[tuple[str, ...]]:
        rows = {key: text for key, text in texts.rows.items() if key[2] == kind and key[0] != "test"}
        chosen = [t for (v, c, _), t in rows.items() if where.get("video", v) == v and where.get("label", c) == c]
        return {tuple(w if w in texts.words else "<unk>" for w in text.tokens) for text in chosen}

    seen = Counter()
    for step in range(30):
        batch = data.batch(step)
        assert batch.key_texts is not None
        assert batch.sentences is not None
        for c, label in enumerate(CLASSES):
            words = decoded(data, batch.key_texts.ids[c], batch.key_texts.mask[c])
            assert words in known("key", label=label)
            seen[words] += 1
        for row, video_id in enumerate(batch.video_ids):
            words = decoded(data, batch.sentences.ids[row], batch.sentences.mask[row])
            assert words in known("complete", video=video_id)
    assert len(seen) == len({text for c in CLASSES for text in known("key", label=c)})


def test_a_third_of_the_words_is_masked(folder: Path):
    """floor(n / 3) words, at least one, and only words."""
    batch = load(folder).batch(0)
    assert batch.sentences is not None
    assert (batch.sentences.masked.sum(1) == 3).all()
    assert not (batch.sentences.masked & ~batch.sentences.mask).any()
    lengths = np.array([0, 1, 2, 5, 6])
    weights = (np.arange(6) < lengths[:, None]).astype(np.float32)
    masked = draw_masked(weights, lengths, np.random.default_rng(0))
    assert masked.sum(1).tolist() == [0, 1, 1, 1, 2]
    assert not masked[weights == 0].any()


def test_masked_words_follow_their_weights():
    """Words are masked as often as under successive weighted draws without replacement (numpy's own)."""
    weights = np.array([8, 8, 2, 2, 2, 1, 1, 1, 1], np.float32)
    rng = np.random.default_rng(0)
    many = np.tile(weights, (5000, 1))
    shares = draw_masked(many, np.full(len(many), 9), rng).mean(0)
    expected = np.zeros(9)
    for _ in range(5000):
        expected[rng.choice(9, size=3, replace=False, p=weights / weights.sum())] += 1 / 5000
    assert np.allclose(shares, expected, atol=0.03)
    assert shares[0] > 2 * shares[2] > 2 * shares[5]


@pytest.mark.parametrize(("policy", "order"), [("action_words", 3), ("content_words", 2), ("uniform", 1)])
def test_mask_policy_orders_the_words(folder: Path, policy: MaskPolicy, order: int):
    """Action words before content words before stop words; policies differ in which of them they tell apart."""
    data = load(folder, choice=TextChoice(mask=policy))
    assert data.texts is not None
    action, content, stop = MASK_WEIGHTS[policy]
    assert len({action, content, stop}) == order
    assert action >= content >= stop
    names = (None, None, "<unk>", *data.texts.vocabulary.words)
    weight_of = {(names[i], w) for i, w in zip(data.texts.ids.flat, data.texts.weights.flat, strict=True) if i}
    assert ("kick", action) in weight_of
    assert ("knee", content) in weight_of
    assert ("the", stop) in weight_of


@pytest.mark.parametrize(
    ("source", "expected"), [("class_name", "high kick"), ("template", "a video of the action high kick")]
)
def test_texts_without_a_language_model(folder: Path, source: Literal["class_name", "template"], expected: str):
    """Class name and template need only the words' vectors; words without one are unknown."""
    texts = toy_texts(toy_dataset())
    bare = PriorTexts(texts.words, texts.vectors, {})
    data = load(folder, texts=bare, choice=TextChoice(queries=source, sentences=source))
    known = tuple(w if w in texts.words else "<unk>" for w in expected.split())
    batch = next(batch for batch in map(data.batch, range(50)) if "v0" in batch.video_ids)
    assert batch.key_texts is not None
    assert batch.sentences is not None
    row = batch.video_ids.index("v0")
    assert decoded(data, batch.key_texts.ids[0], batch.key_texts.mask[0]) == known
    assert decoded(data, batch.sentences.ids[row], batch.sentences.mask[row]) == known


def test_each_branch_has_texts_of_its_own(folder: Path):
    """Names can stand for classes while descriptions are restored, and the other way; both fill the vocabulary."""
    plain = load(folder).batch(0)
    for choice in (TextChoice(queries="class_name"), TextChoice(sentences="class_name")):
        data, names_are_queries = load(folder, choice=choice), choice.queries == "class_name"
        batch = data.batch(0)
        for ours, expected, is_name in (
            (batch.key_texts, plain.key_texts, names_are_queries),
            (batch.sentences, plain.sentences, not names_are_queries),
        ):
            assert ours is not None
            assert expected is not None
            assert (ours.mask.sum(1) == 2).all() if is_name else torch.equal(ours.mask, expected.mask)
        pool = data.query_pool()
        assert len(pool.classes) == len(CLASSES) if names_are_queries else len(pool.classes) > len(CLASSES)
        assert data.texts is not None
        assert {"high", "kick", "long", "jump", "push", "up"} <= set(data.texts.vocabulary.words)


@pytest.mark.parametrize("choice", [TextChoice(queries="class_name"), TextChoice(sentences="template")])
def test_a_name_without_vectors_is_refused(folder: Path, choice: TextChoice):
    """Else classes would share one query; the message names the class, the command and the other choice."""
    texts = toy_texts(toy_dataset())
    kept = [i for i, word in enumerate(texts.words) if word not in ("long", "jump", "high")]
    fewer = PriorTexts(tuple(texts.words[i] for i in kept), texts.vectors[kept], texts.rows)
    with pytest.raises(TrainingError, match=r"in LongJump, expected.*make priors.*--model.ksm.queries class_pool"):
        load(folder, texts=fewer, choice=choice)
    load(folder, texts=fewer)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("HighKick", "high kick"),
        ("high_kick", "high kick"),
        ("Clean and jerk", "clean and jerk"),
        ("BMXRace2", "bmx race2"),
    ],
)
def test_class_words(label: str, words: str):
    """Class names of any convention become words."""
    assert class_words(label) == tuple(words.split())


def test_texts_of_a_video_that_the_annotations_do_not_have_are_not_read(folder: Path):
    """What is left of a video that was taken out changes nothing, the vocabulary included."""
    dataset, texts = toy_dataset(), toy_texts(toy_dataset())
    left = dataclasses.replace(dataset, videos=dataset.videos[1:])
    rows = {key: text for key, text in texts.rows.items() if key[0] != "v0"}
    clean = load(folder, dataset=left, texts=PriorTexts(texts.words, texts.vectors, rows))
    stale = load(folder, dataset=left, texts=texts)
    assert clean.fingerprint() == stale.fingerprint()
    assert all(same(clean.batch(step), stale.batch(step)) for step in range(5))


def test_query_pool_holds_every_key_text_once(folder: Path):
    """Shares of a class sum to one, and equal texts stand once with their common share."""
    dataset, texts = toy_dataset(), toy_texts(toy_dataset())
    rows = dict(texts.rows)
    rows["v1", CLASSES[0], "key"] = rows["v0", CLASSES[0], "key"]
    data = load(folder, dataset=dataset, texts=PriorTexts(texts.words, texts.vectors, rows))
    pool = data.query_pool()
    for c in range(len(CLASSES)):
        assert pool.weights[pool.classes == c].sum() == pytest.approx(1)
    of_first = pool.weights[pool.classes == 0]
    assert len(of_first) == 3
    assert of_first.max() == pytest.approx(2 / 4)


def test_a_class_without_description_is_refused(folder: Path):
    """The message names the class and the command."""
    texts = toy_texts(toy_dataset())
    rows = {key: text for key, text in texts.rows.items() if key[1:] != (CLASSES[1], "key")}
    with pytest.raises(TrainingError, match=r"no key description for LongJump.*make priors.*queries class_name"):
        load(folder, texts=PriorTexts(texts.words, texts.vectors, rows))


def test_a_video_without_description_has_an_empty_sentence(folder: Path):
    """One failed description stops nothing; that video has no words."""
    texts = toy_texts(toy_dataset())
    rows = {key: text for key, text in texts.rows.items() if key != ("v4", CLASSES[2], "complete")}
    data = load(folder, texts=PriorTexts(texts.words, texts.vectors, rows))
    batch = next(batch for batch in map(data.batch, range(50)) if "v4" in batch.video_ids)
    assert batch.sentences is not None
    assert not batch.sentences.mask[batch.video_ids.index("v4")].any()


def test_a_class_without_video_is_refused(folder: Path):
    """The message names the class and the subset."""
    dataset = with_labels([(CLASSES[0],), (CLASSES[1],)])
    with pytest.raises(TrainingError, match=r"subset training: found no video of PushUp"):
        load(folder, dataset=dataset, texts=None)


def test_an_unknown_class_is_refused(folder: Path):
    """The message names the nearest class."""
    with pytest.raises(CacheError, match=r"unknown class 'PushUpp'; did you mean 'PushUp'"):
        load(folder, dataset=with_labels([(CLASSES[0],), (CLASSES[1],), ("PushUpp",)]), texts=None)


def test_an_unknown_subset_is_refused(folder: Path):
    """The message names the subsets that exist."""
    with pytest.raises(CacheError, match="training"):
        load(folder, DataRecipe(subset="nowhere"))
