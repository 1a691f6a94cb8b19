"""Doubtful settings: each is named for data that it does not suit, and none for data that it does."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.data.toy_data import tiny_recipe, toy_dataset, toy_store, toy_texts
from training.batches.data import WtalData
from training.checks.settings import doubtful_settings
from training.recipe import TrainRecipe

SOUND = {"loop.steps": 100}
"""The tiny recipe has 8 steps."""


def doubts(
    folder: Path, recipe: TrainRecipe, *, videos: tuple[str, ...] = (), silent: tuple[str, ...] = ()
) -> list[str]:
    """What is said of a recipe on the toy data, or on some of its `videos`; those of `silent` have no complete text."""
    dataset = toy_dataset()
    if videos:
        dataset = replace(dataset, videos=tuple(video for video in dataset.videos if video.video_id in videos))
    texts = toy_texts(dataset)
    rows = {key: row for key, row in texts.rows.items() if not (key[0] in silent and key[2] == "complete")}
    store = toy_store(folder, toy_dataset())
    data = WtalData(dataset, store, replace(texts, rows=rows), recipe=recipe.data, seed=recipe.seed)
    return [str(doubt) for doubt in doubtful_settings(data, recipe)]


def test_sound_settings_are_not_doubted(tmp_path: Path):
    """Nine videos of three classes, batches of four."""
    assert doubts(tmp_path, tiny_recipe().changed(SOUND)) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data.singles": 9}, "a batch holds 11 videos .* there are 9, .*--data.num-pairs 2 --data.singles 5"),
        (
            {"data.num_snippets": 3, "model.host.mil_ratio": 1, "model.ksm.mil_ratio": 1},
            r"data.num_snippets is 3, but half of the videos have \d+ .*--data.num-snippets",
        ),
        ({"model.host.mil_ratio": 40}, "model.host.mil_ratio is 40, but 9 of 9 videos .*--model.host.mil-ratio 4"),
        ({"model.ksm.mil_ratio": 40}, "model.ksm.mil_ratio is 40, .*one snippet alone"),
        ({"loop.steps": 3}, "3 steps of 4 videos show each of 9 training videos 1.3 times"),
        ({"loop.epochs": 1.0}, "3 steps of 4 videos show each of 9 training videos 1.3 times"),
        ({"loop.warmup": 100}, "loop.warmup is 100, .*all 100 steps.*--loop.warmup 10"),
    ],
)
def test_a_doubtful_setting_is_named_once(tmp_path: Path, changes: dict[str, object], told: str):
    """With what to try instead."""
    with_it = tiny_recipe().changed(SOUND | changes)
    (one,) = doubts(tmp_path, with_it)
    assert re.search(told, one), one


def test_features_of_another_size_are_told(tmp_path: Path):
    """Unless they are scaled."""
    store = toy_store(tmp_path, toy_dataset())
    for video in toy_dataset().videos:
        store.save(video.video_id, store.load(video.video_id) * np.float32(8))
    recipe = tiny_recipe().changed(SOUND)

    def told(recipe: TrainRecipe) -> list[str]:
        data = WtalData(toy_dataset(), store, toy_texts(toy_dataset()), recipe=recipe.data, seed=0)
        return [str(doubt) for doubt in doubtful_settings(data, recipe)]

    (one,) = told(recipe)
    assert re.search(r"root mean square of the features is rgb \d.*flow \d.*--data.feature-rms 0.4", one), one
    assert told(recipe.changed({"data.feature_rms": 0.4})) == []


def test_videos_that_share_no_class_make_no_pairs(tmp_path: Path):
    """One video of each class, in a batch of four."""
    told = doubts(tmp_path, tiny_recipe().changed(SOUND), videos=("v0", "v2", "v4"))
    assert len(told) == 2
    assert told[0].startswith("no two training videos share a class")
    assert "--data.num-pairs 0 --data.singles 3" in told[1]
    without = tiny_recipe().changed({**SOUND, "data.num_pairs": 0})
    assert doubts(tmp_path, without, videos=("v0", "v2", "v4")) == []


def test_missing_descriptions_are_counted(tmp_path: Path):
    """CSR reads the complete ones; without it they are not missed."""
    silent = ("v0", "v1", "v2", "v3", "v5")
    (told,) = doubts(tmp_path, tiny_recipe().changed(SOUND), silent=silent)
    assert told.startswith("4 of 9 training videos have a complete description")
    assert (
        doubts(
            tmp_path,
            tiny_recipe(use_csr=False, use_dpid=False).changed(
                {**SOUND, "model.head.pseudo_labels.attentions": ["ksm"]}
            ),
            silent=silent,
        )
        == []
    )
