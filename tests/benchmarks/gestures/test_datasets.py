"""Datasets of made-up gestures: folds, features without labels, texts of every class, and the whole benchmark."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.gestures import class_texts, gestures
from benchmarks.gestures.datasets import folds_of, write_dataset
from benchmarks.gestures.pretrained import pretrain, read_trimmed
from benchmarks.gestures.recordings import Recording, read_recordings
from benchmarks.gestures.streams import GridChoice
from cache.annotations import Dataset
from cache.errors import CacheError
from cache.features import FeatureStore
from cache.tables.embeddings import load_prior_texts
from cache.tables.folders import only_fingerprint
from tests.support.data.gestures import hand, write_packed

CHOICE = GridChoice(frames=8, stride=4, width=10, pretrained=4)
HANDS = {f"r{number}": hand(150, seed=number) for number in range(8)}
GESTURES = {name: [("TAP", 10, 40), (("GRAB", "V")[number % 2], 60 + number, 100)] for number, name in enumerate(HANDS)}


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    """The made-up recordings, read from disk."""
    return read_recordings(write_packed(tmp_path / "source", HANDS, GESTURES))


def test_every_recording_is_tested_once(recordings: list[Recording]) -> None:
    """Folds part the recordings; a number of folds that cannot be is refused."""
    folds = folds_of(recordings, count=3, seed=0)
    tested = [one.name for _, held_out in folds for one in held_out]
    assert sorted(tested) == sorted(HANDS)
    for training, held_out in folds:
        assert {one.name for one in training} == set(HANDS) - {one.name for one in held_out}
    with pytest.raises(CacheError, match="2 to 8"):
        folds_of(recordings, count=9, seed=0)


def test_dataset_is_complete(tmp_path: Path, recordings: list[Recording]) -> None:
    """Annotations, features of both subsets, and two texts for each class of each video."""
    write_dataset(tmp_path / "d", recordings[:6], recordings[6:], choice=CHOICE)
    dataset = Dataset.load(tmp_path / "d" / "annotations.json")
    assert dataset.classes == ("GRAB", "TAP", "V")
    assert [video.video_id for video in dataset.split("testing")] == ["r6", "r7"]
    store = FeatureStore.open(tmp_path / "d" / "features")
    assert store.lengths(HANDS) == [36] * 8
    texts = load_prior_texts(only_fingerprint(tmp_path / "d" / "embeddings", made_by="", chosen_by=""))
    assert len(texts.rows) == 2 * 2 * 8


def test_features_do_not_depend_on_gestures(tmp_path: Path, recordings: list[Recording]) -> None:
    """Other labels and other times give the same features, bit for bit."""
    elsewhere = {name: [("V", 1, 20), ("TAP", 30, 31), ("GRAB", 2, 9)] for name in HANDS}
    others = read_recordings(write_packed(tmp_path / "others", HANDS, elsewhere))
    for name, ones in (("a", recordings), ("b", others)):
        write_dataset(tmp_path / name, ones[:6], ones[6:], choice=CHOICE)
    stores = [FeatureStore.open(tmp_path / name / "features") for name in "ab"]
    for name in HANDS:
        assert np.array_equal(stores[0].load(name), stores[1].load(name))


def test_class_without_texts_is_refused(tmp_path: Path) -> None:
    """The message names the class."""
    named = {name: [("JUGGLE", 1, 20)] for name in HANDS}
    recordings = read_recordings(write_packed(tmp_path / "source", HANDS, named))
    with pytest.raises(CacheError, match="JUGGLE"):
        write_dataset(tmp_path / "d", recordings[:6], recordings[6:], choice=CHOICE)


def test_words_of_all_texts_have_vectors() -> None:
    """No word of the texts is unknown to the word vectors beside them."""
    known = {line.split(" ")[0] for line in Path(class_texts.__file__).with_name("words.txt").read_text().splitlines()}
    assert set(class_texts.KEY) == set(class_texts.COMPLETE)
    for texts in (*class_texts.KEY.values(), *class_texts.COMPLETE.values()):
        for text in texts:
            assert set(text.lower().replace(".", " .").replace(",", " ,").split()) <= known


def test_pretrained_encoder_tells_gestures_apart(tmp_path: Path) -> None:
    """Trimmed gestures are resampled, and equal seeds give equal encoders."""
    rng = np.random.default_rng(0)
    arrays = {}
    for number in range(12):
        frames = hand(24, seed=number).reshape(24, 20, 7)
        frames[:, 1:, 1] += 0.2 * (number % 2) * np.linspace(0, 1, 24)[:, None]
        arrays[f"{1 + number % 2:02d}_{number}"] = frames.reshape(24, 140) + rng.normal(scale=1e-5, size=(24, 140))
    np.savez(tmp_path / "dictionary_trimmed_float32.npz", **arrays)
    trimmed = read_trimmed(tmp_path)
    assert [label for _, label in trimmed] == [number % 2 for number in range(12)]
    assert len(trimmed[0][0]) == 60
    first, again = (pretrain(trimmed, CHOICE, width=4, steps=20) for _ in range(2))
    vectors = np.random.default_rng(1).normal(size=(5, len(first["pose"].mean))).astype(np.float32)
    assert first["pose"].encode(vectors).shape == (5, 4)
    assert np.array_equal(first["pose"].encode(vectors), again["pose"].encode(vectors))
    with pytest.raises(CacheError, match="no such file"):
        read_trimmed(tmp_path / "absent")


def test_benchmark_trains_folds_and_prints_tables_and_diagnosis(
    tmp_path: Path, recordings: list[Recording], capsys: pytest.CaptureFixture[str]
) -> None:
    """From recordings to the printed tables, with two steps of training."""
    asked = ["--train", str(tmp_path / "source"), "--folds", "2", "--rows", "host", "--steps", "2", "--stride", "4"]
    assert gestures.main([*asked, "--output", str(tmp_path / "out"), "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "mean of 2 folds" in printed
    assert "8 videos" in printed
    assert "Diagnosis" in printed


def test_test_folder_may_number_its_recordings_alike(tmp_path: Path, recordings: list[Recording]) -> None:
    """Training and test recordings of the same names are different videos of one dataset."""
    asked = ["--train", str(tmp_path), "--test", str(tmp_path), "--output", str(tmp_path / "out")]
    (folder,) = gestures.write_datasets(gestures.options_of(asked), recordings, recordings[:3])
    dataset = Dataset.load(folder / "annotations.json")
    assert [len(dataset.split(subset)) for subset in ("training", "testing")] == [8, 3]
    assert {video.video_id for video in dataset.split("testing")} == {"test-r0", "test-r1", "test-r2"}
