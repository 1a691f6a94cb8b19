"""Import descriptions that were made elsewhere, from JSONL, CSV or Parquet, and look up their word vectors."""

from __future__ import annotations

from pathlib import Path

from cache.annotations import Dataset
from cache.descriptions.audit import audit
from cache.errors import CacheError
from cache.recipe import Recipe
from cache.tables.embeddings import open_tokens
from cache.wording import amount
from pipelines.console import BAD_INPUT, fail, say, table
from priors.imported import COLUMNS, OPTIONAL, Checked, ImportedRecipe, check_file, import_file
from priors.words.embed import embed
from priors.words.glove import GloveRecipe, WordVectors

_SHOWN = 50


class ImportRun(Recipe):
    """Which file is imported, and what its rows lack."""

    dataset: Path
    """Folder of the dataset: holds annotations.json, receives descriptions/ and embeddings/."""
    file: Path = Path("descriptions.jsonl")
    """Rows with video_id, action_class, kind (key, complete) and description; optional: prompt, model_id,
    model_revision, frame_seconds and duration. JSONL, CSV with a header, or Parquet, by its suffix."""
    model_id: str | None = None
    """Model that wrote the descriptions; needed if the rows have no model_id."""
    model_revision: str | None = None
    """Revision of that model, if the rows have no model_revision."""
    key_prompt: str | None = None
    """Prompt of the key descriptions, with {cls} in place of the class, if the rows have no prompt."""
    complete_prompt: str | None = None
    """Prompt of the complete descriptions, likewise."""
    skip_invalid: bool = False
    """Import the valid rows and list the others. Otherwise a single invalid row stops the import, and nothing is
    written."""
    subset: str = "training"
    """Subset whose coverage is shown afterwards; rows of all subsets are imported."""
    glove: GloveRecipe
    """Word vectors."""
    embed: bool = True
    """Split the texts into words and write their embeddings as well."""


def main(recipe: ImportRun) -> int:
    """Check, write, embed, and print what is still missing; 1 if rows were left out."""
    dataset = Dataset.load(recipe.dataset / "annotations.json")
    dataset.split(recipe.subset)
    vectors = WordVectors.load(recipe.glove) if recipe.embed else None
    source = ImportedRecipe.of(
        recipe.file,
        model=recipe.model_id,
        model_revision=recipe.model_revision,
        key_prompt=recipe.key_prompt,
        complete_prompt=recipe.complete_prompt,
    )
    checked = check_file(dataset, recipe.file, source)
    if checked.bad:
        _print_problems(recipe.file, checked)
        if not recipe.skip_invalid:
            fail("Nothing was written. Fix these lines, or leave them out with --skip-invalid.")
            return BAD_INPUT
    if not checked.good:
        raise CacheError(f"{recipe.file}: holds no description; expected rows with {', '.join(COLUMNS)}")
    store = import_file(dataset, recipe.file, source, recipe.dataset / "descriptions")
    say(f"{amount(checked.good, 'description')} imported, {amount(checked.bad, 'row')} left out")
    if checked.reasoning:
        say(f"reasoning was cut off from {amount(checked.reasoning, 'description')}, now flagged reasoning")
    if checked.ignored:
        say(f"ignored columns: {', '.join(sorted(checked.ignored))}; known optional columns: {', '.join(OPTIONAL)}")
    say(f"descriptions: {store.folder}")
    tokens = None
    if vectors is not None:
        videos = {video.video_id for video in dataset.videos}
        embedded = embed(store, vectors, recipe.dataset / "embeddings", videos=videos)
        tokens = open_tokens(embedded.folder)
        say(f"word vectors: {embedded.word_vectors}")
        say(f"embeddings: {embedded.folder} ({embedded.unknown} of {amount(embedded.tokens, 'word')} unknown)")
    state = audit(dataset, recipe.subset, store, tokens)
    for line in (*state.errors, *state.warnings):
        say(f"note: {line}")
    return 1 if checked.bad else 0


def _print_problems(file: Path, checked: Checked) -> None:
    rows = [[str(one.line), one.column or "(line)", one.reason] for one in checked.problems[:_SHOWN]]
    table(f"{file}: {amount(checked.bad, 'row')} cannot be imported", ["line", "column", "reason"], rows)
    if checked.bad > _SHOWN:
        say(f"... and {checked.bad - _SHOWN} more")
    say("by column: " + ", ".join(f"{name} {count}" for name, count in checked.by_column.most_common()))
