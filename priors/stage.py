"""The priors stage from end to end: generate missing descriptions, embed their words, audit the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cache.annotations import Dataset
from cache.descriptions.audit import Audit, audit
from cache.errors import CacheError
from cache.tables.embeddings import open_tokens
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.tables.store import RECIPE_FILE, PartStore
from priors.describers.choice import make_describer
from priors.run.generate import Engine, LocalEngine, OnProgress, Summary, generate
from priors.run.plan import Plan, keys_of, plan
from priors.run.preflight import ROW_BYTES, check_target
from priors.run.recipe import DescriptionRecipe, PriorsRecipe
from priors.run.run_log import last_rate
from priors.video.frames import require_reader
from priors.words.embed import EmbedSummary, OnEmbedded, embed
from priors.words.glove import WordVectors, find_words
from priors.words.mapped_copy import OnShare


@dataclass(frozen=True)
class PriorsSummary:
    """Result of the stage, and what is on disk after it."""

    descriptions: PartStore
    described: Summary
    embedded: EmbedSummary | None
    """None if other shards have not finished: the last one embeds."""
    audit: Audit


@dataclass(frozen=True)
class Preview:
    """What the stage would do (a dry run)."""

    plan: Plan
    texts: DescriptionRecipe
    folder: Path
    """Folder of the descriptions."""
    missing_videos: int
    """Videos to be described that have no file."""
    bytes: int
    """Upper bound of the disk space of the rows."""
    seconds: float | None
    """Estimated time, at the rate of the last run `measured_by`; None if there was no run."""
    measured_by: str


def make_priors(
    recipe: PriorsRecipe,
    *,
    on_progress: OnProgress | None = None,
    on_words: OnShare | None = None,
    on_embedded: OnEmbedded | None = None,
) -> PriorsSummary:
    """Fill `<folder>/descriptions/<fingerprint>` and `<folder>/embeddings/<fingerprint>`.

    The model is loaded only if something is missing, after everything else has been checked. `on_words` is called with
    the progress of converting a big word vector file, which happens once, `on_embedded` with the number of tokenized
    texts. Raises CacheError if annotations, word vectors or Parquet files cannot be read or folders cannot be written,
    and ModelError if the model cannot be used.
    """
    dataset, subset, shard = recipe.data.dataset(), recipe.data.subset, recipe.run.shard
    dataset.split(subset)
    vectors = WordVectors.load(recipe.glove, on_share=on_words)
    require_reader(recipe.frames)
    texts = DescriptionRecipe.of(recipe.describer, recipe.frames, recipe.prompts)
    check_target(recipe.data.folder / "descriptions", 0)
    check_target(recipe.data.folder / "embeddings", 0)
    store = PartStore.create(recipe.data.folder / "descriptions", texts, DESCRIPTIONS, key=DESCRIPTION_KEY)
    described = generate(dataset, subset, store, _engine(recipe, texts), recipe.run, on_progress=on_progress)
    if shard is not None and _others_at_work(dataset, subset, store):
        return PriorsSummary(store, described, None, audit(dataset, subset, store, None))
    # Other annotations than the folder's own may have a subset of its videos: no words of the others are deleted.
    videos = None if recipe.data.annotations else {video.video_id for video in dataset.videos}
    folder = recipe.data.folder / "embeddings"
    embedded = embed(store, vectors, folder, videos=videos, options=recipe.embed, on_progress=on_embedded)
    state = audit(dataset, subset, store, open_tokens(embedded.folder))
    return PriorsSummary(store, described, embedded, state)


def preview(recipe: PriorsRecipe) -> Preview:
    """What `make_priors` would do, without loading the model, reading word vectors or writing anything.

    Raises like `make_priors`, as far as the problems can be detected without that.
    """
    dataset = recipe.data.dataset()
    videos = dataset.split(recipe.data.subset)
    find_words(recipe.glove)
    require_reader(recipe.frames)
    texts = DescriptionRecipe.of(recipe.describer, recipe.frames, recipe.prompts)
    folder = recipe.data.folder / "descriptions" / texts.fingerprint()
    store = None
    if (folder / RECIPE_FILE).exists():
        store = PartStore.open(folder, DESCRIPTIONS, key=DESCRIPTION_KEY)
    todo = plan(videos, store, again=recipe.run.again, check_videos=recipe.run.check_videos, shard=recipe.run.shard)
    missing = sum(item.entry.file_bytes is None for item in todo.work)
    rate = last_rate(folder) or (None, "")
    seconds = None if rate[0] is None else todo.total / rate[0]
    return Preview(todo, texts, folder, missing, todo.total * ROW_BYTES, seconds, rate[1])


def _engine(recipe: PriorsRecipe, texts: DescriptionRecipe) -> Engine:
    if recipe.run.engine == "ray":
        try:
            from priors.run.ray_engine import RayEngine
        except ModuleNotFoundError as error:
            raise CacheError(
                "engine: ray is not installed; run `pip install 'ray[data]'`, or use --engine local"
            ) from error
        return RayEngine(recipe.describer, texts, recipe.run)
    return LocalEngine(lambda: make_describer(recipe.describer), texts, recipe.describer, recipe.run)


def _others_at_work(dataset: Dataset, subset: str, store: PartStore) -> bool:
    """Whether some key of the subset has no row yet, neither an ok nor a failed one."""
    known = {(row["video_id"], row["action_class"], row["kind"]) for row in store.rows(DESCRIPTION_KEY)}
    return any(key not in known for video in dataset.split(subset) for key in keys_of(video))
