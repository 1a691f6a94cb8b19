"""A dataset folder with random features and canned descriptions of twelve videos, and a training that is tiny on it."""

from pathlib import Path

import numpy as np

from cache.annotations import Dataset, Segment, VideoEntry
from cache.features import FeatureGrid, FeatureStore
from cache.recipe import Recipe
from cache.tables.embeddings import TOKENS_TABLE, VOCABULARY_TABLE
from cache.tables.schema import (
    DESCRIPTION_KEY,
    KINDS,
    TOKENS,
    VOCABULARY_KEY,
    TokenRow,
    VocabularyRow,
    vocabulary_schema,
)
from cache.tables.store import PartStore
from training.hosts.plain import PlainRecipe
from training.model.csr import CsrRecipe
from training.model.ksm import KsmRecipe
from training.model.localization_head import HeadRecipe
from training.model.mllm4wtal import ModelRecipe
from training.model.pseudo_labels import PseudoLabelRecipe
from training.optimizers import LoopRecipe
from training.recipe import TrainRecipe

CLASSES = ("HighKick", "LongJump")
WORDS = ("high", "kick", "long", "jump", "runs")
GRID = FeatureGrid(streams={"rgb": 6, "flow": 4}, fps=16, snippet_frames=8, snippet_stride=8)


class MadeBy(Recipe):
    """Stands for the recipe of a priors stage."""

    model: str = "canned"


def small_training() -> TrainRecipe:
    """Every part of the model, tiny, for a few steps."""
    model = ModelRecipe(
        host=PlainRecipe(width=8),
        ksm=KsmRecipe(width=8, heads=2, context=1),
        csr=CsrRecipe(width=8, heads=2, encoder_layers=1, decoder_layers=1),
        head=HeadRecipe(width=8, levels=2, pseudo_labels=PseudoLabelRecipe(warmup=0.3, refresh=0.3)),
    )
    loop = LoopRecipe(steps=6, log_every=2, tensorboard=False, device="cpu")
    return TrainRecipe(model=model, loop=loop)


def make_world(folder: Path) -> Path:
    """Annotations, features and embeddings of twelve videos in `folder`."""
    rng = np.random.default_rng(0)
    store = FeatureStore.create(folder / "features", GRID)
    entries = []
    for index in range(12):
        label = CLASSES[index % 2]
        subset = ("training", "validation", "testing")[index // 4]
        entries.append(VideoEntry(f"v{index}", subset, 10.0, (label,), (Segment(label, 2.0, 5.0),), None))
        store.save(f"v{index}", rng.normal(size=(20, GRID.width)).astype(np.float32))
    Dataset("tiny", CLASSES, tuple(entries)).save(folder / "annotations.json")
    tokens = PartStore.create(folder / "embeddings", MadeBy(), TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE)
    tokens.append([words_of(video, kind) for video in entries[:4] for kind in KINDS])
    schema = vocabulary_schema(3)
    table = PartStore.create(folder / "embeddings", MadeBy(), schema, key=VOCABULARY_KEY, table=VOCABULARY_TABLE)
    vectors = rng.normal(size=(len(WORDS), 3)).astype(np.float32)
    table.append([VocabularyRow(token_id=i, word=word, vector=vectors[i]) for i, word in enumerate(WORDS)])
    return folder


def words_of(video: VideoEntry, kind: str) -> TokenRow:
    """ "runs", then the two words of the class."""
    ids = (4, 0, 1) if video.labels[0] == "HighKick" else (4, 2, 3)
    return TokenRow(
        video_id=video.video_id,
        action_class=video.labels[0],
        kind=kind,  # pyright: ignore[reportArgumentType]
        description_sha256="0",
        tokens=tuple(WORDS[i] for i in ids),
        token_ids=ids,
        known=(True,) * 3,
        is_action_word=(False, True, True),
    )
