"""A toy dataset for the trainer's tests: features with planted actions, and descriptions with planted words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cache.annotations import Dataset, Segment, VideoEntry
from cache.features import GRID_FILE, FeatureGrid, FeatureStore
from cache.recipe import Recipe
from cache.tables.embeddings import TOKENS_TABLE, VOCABULARY_TABLE, PriorText, PriorTexts
from cache.tables.schema import DESCRIPTION_KEY, TOKENS, VOCABULARY_KEY, TokenRow, VocabularyRow, vocabulary_schema
from cache.tables.store import PartStore
from training.batches.data import DataRecipe, WtalData
from training.hosts.plain import PlainRecipe
from training.model.csr import CsrRecipe
from training.model.ksm import KsmRecipe
from training.model.localization_head import HeadRecipe
from training.model.mllm4wtal import Mllm4Wtal, ModelRecipe
from training.model.pseudo_labels import PseudoLabelRecipe
from training.optimizers import LoopRecipe
from training.recipe import TrainRecipe

CLASSES = ("HighKick", "LongJump", "PushUp")
STREAMS = {"rgb": 6, "flow": 4}
GRID = FeatureGrid(streams=STREAMS, fps=10, snippet_frames=8, snippet_stride=4)
FILLER = ("the", "person", "runs", "then", "lands", "with", "a", "bent", "knee", "slowly", "outside", "zzyzx")
WORDS = ("high", "kick", "long", "jump", "push", "up", "video", "action", *FILLER[:-1])
"""Words with a vector: all but the last filler."""
LABELS = ((0,), (0,), (1,), (1,), (2,), (0, 1), (2,), (1, 2), (0,))


def toy_texts(dataset: Dataset, *, seed: int = 0) -> PriorTexts:
    """A key description of 5 words and a complete one of 9 for every (video, class); two words are the class's."""
    rng = np.random.default_rng(seed)
    rows = {}
    for video in dataset.videos:
        for label in video.labels:
            first, second = WORDS[2 * CLASSES.index(label) : 2 * CLASSES.index(label) + 2]
            for kind, count in (("key", 5), ("complete", 9)):
                words = [str(word) for word in rng.choice(FILLER, count)]
                words[1], words[-1] = first, second
                ids = np.array([WORDS.index(word) if word in WORDS else -1 for word in words], np.int64)
                is_action = np.array([word in (first, second) for word in words])
                rows[video.video_id, label, kind] = PriorText(tuple(words), ids, is_action, ids >= 0)
    vectors = rng.normal(size=(len(WORDS), 8)).astype(np.float32)
    return PriorTexts(WORDS, vectors, rows)


def toy_dataset() -> Dataset:
    """Nine training videos of three classes, some with two, and a test video."""
    rng = np.random.default_rng(1)
    videos = []
    for number, labels in enumerate(LABELS):
        names = tuple(CLASSES[label] for label in labels)
        segments = tuple(Segment(name, float(rng.uniform(0, 2)), float(rng.uniform(2, 4))) for name in names)
        videos.append(VideoEntry(f"v{number}", "training", None, names, segments, None))
    videos.append(VideoEntry("test", "testing", None, (CLASSES[0],), (), None))
    return Dataset("toy", CLASSES, tuple(videos))


def toy_store(folder: Path, dataset: Dataset) -> FeatureStore:
    """Features of 8 to 24 snippets; the middle third of a video shows its classes. Made once a folder."""
    if (folder / GRID_FILE).exists():
        return FeatureStore.open(folder)
    rng = np.random.default_rng(2)
    store = FeatureStore.create(folder, GRID)
    shown = rng.normal(size=(len(CLASSES), GRID.width))
    for video in dataset.videos:
        length = int(rng.integers(8, 25))
        features = 0.3 * rng.normal(size=(length, GRID.width))
        for label in video.labels:
            features[length // 3 : 2 * length // 3] += shown[dataset.class_index(label)]
        store.save(video.video_id, features.astype(np.float32))
    return store


def save_toy(folder: Path) -> None:
    """The toy dataset as a dataset's folder: annotations (with truth for the test video), features and embeddings."""
    dataset = toy_dataset()
    *videos, last = dataset.videos
    last = replace(last, duration=3.0, segments=(Segment(CLASSES[0], 0.5, 1.5),))
    replace(dataset, videos=(*videos, last)).save(folder / "annotations.json")
    toy_store(folder / "features", dataset)
    texts, root = toy_texts(dataset), folder / "embeddings"
    words = PartStore.create(root, Recipe(), vocabulary_schema(8), key=VOCABULARY_KEY, table=VOCABULARY_TABLE)
    table = zip(texts.words, texts.vectors, strict=True)
    words.append([VocabularyRow(token_id=i, word=word, vector=vector) for i, (word, vector) in enumerate(table)])
    tokens = PartStore.create(root, Recipe(), TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE)
    rows = [
        TokenRow(
            video_id=key[0],
            action_class=key[1],
            kind=key[2],  # pyright: ignore[reportArgumentType]
            description_sha256="0",
            tokens=text.tokens,
            token_ids=tuple(text.word_ids.tolist()),
            known=tuple(text.known.tolist()),
            is_action_word=tuple(text.is_action_word.tolist()),
        )
        for key, text in texts.rows.items()
    ]
    tokens.append(rows)


def tiny_recipe(**model: object) -> TrainRecipe:
    """Everything on, as small as it gets; `model` changes fields of the model's recipe."""
    parts = {
        "host": PlainRecipe(width=8),
        "ksm": KsmRecipe(width=8, heads=2, context=2),
        "csr": CsrRecipe(width=8, heads=2, encoder_layers=1, decoder_layers=1),
        "head": HeadRecipe(width=8, levels=2, depth=1, pseudo_labels=PseudoLabelRecipe(refresh=0.5)),
    }
    return TrainRecipe(
        data=DataRecipe(num_snippets=16, num_pairs=1, singles=2),
        model=ModelRecipe.model_validate(parts | model),
        loop=LoopRecipe(steps=8, host_lr=1e-2, lr=1e-2, log_every=2, checkpoint_every=100, tensorboard=False),
    )


def toy_training_data(folder: Path) -> WtalData:
    """The toy dataset with features in `folder`, and its texts, as the trainer gets them."""
    dataset = toy_dataset()
    return WtalData(dataset, toy_store(folder, dataset), toy_texts(dataset), recipe=tiny_recipe().data, seed=0)


def toy_model(data: WtalData, **model: object) -> Mllm4Wtal:
    """The tiny model with the word vectors of the data, from a fixed seed."""
    torch.manual_seed(0)
    assert data.texts is not None
    vectors = torch.from_numpy(data.texts.vocabulary.vectors)
    return Mllm4Wtal(tiny_recipe(**model).model, streams=STREAMS, num_classes=3, word_vectors=vectors)
