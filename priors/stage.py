"""The priors stage from end to end: describe what is missing, embed the words, audit the result."""

from __future__ import annotations

from dataclasses import dataclass

from cache.audit import Audit, audit
from cache.embeddings import load_prior_texts
from cache.schema import DESCRIPTION_KEY, DESCRIPTIONS, KINDS
from cache.store import PartStore
from priors.describer import make_describer
from priors.embed import EmbedSummary, embed
from priors.frames import require_reader
from priors.generate import OnProgress, Summary, generate, plan
from priors.glove import WordVectors
from priors.recipe import DescriptionRecipe, PriorsRecipe


@dataclass(frozen=True)
class PriorsSummary:
    """What the stage did and what it left on disk."""

    descriptions: PartStore
    described: Summary
    embedded: EmbedSummary
    audit: Audit


def make_priors(recipe: PriorsRecipe, *, on_progress: OnProgress | None = None) -> PriorsSummary:
    """Fill `<folder>/descriptions/<fingerprint>` and `<folder>/embeddings/<fingerprint>`.

    The model is only loaded if something is missing; whatever else is needed is checked before. Raises CacheError for
    annotations, word vectors or parts that cannot be read, ModelError for a model that cannot be used.
    """
    dataset = recipe.data.dataset()
    videos = dataset.split(recipe.data.subset)
    vectors = WordVectors.load(recipe.glove.path, converted=recipe.glove.converted)
    require_reader(recipe.frames)
    texts = DescriptionRecipe.of(recipe.describer, recipe.frames)
    store = PartStore.create(recipe.data.folder / "descriptions", texts, DESCRIPTIONS, key=DESCRIPTION_KEY)
    if plan(videos, store.done()):
        described = generate(
            dataset,
            recipe.data.subset,
            make_describer(recipe.describer),
            store,
            recipe=texts,
            batch_size=recipe.describer.batch_size,
            decode_threads=recipe.decode_threads,
            write_seconds=recipe.write_seconds,
            on_progress=on_progress,
        )
    else:
        keys = sum(len(video.labels) * len(KINDS) for video in videos)
        described = Summary(0, keys, 0, (), 0.0, 0.0, 0)
    embedded = embed(store, vectors, recipe.data.folder / "embeddings")
    state = audit(dataset, recipe.data.subset, store, load_prior_texts(embedded.folder) if embedded.tokens else None)
    return PriorsSummary(store, described, embedded, state)
