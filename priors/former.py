"""Descriptions and embeddings under the names that version 0.1 gave them: found, and moved to today's names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from cache.embeddings import INLINE_TABLE, TOKENS_TABLE, VOCABULARY_TABLE
from cache.folders import stored_schema
from cache.recipe import Recipe, fingerprint_of
from cache.schema import DESCRIPTION_KEY, VOCABULARY_KEY, CacheError
from cache.store import RECIPE_FILE, PartStore
from priors.embed import EmbeddingRecipe
from priors.recipe import DescriptionRecipe

_DESCRIPTIONS = {"": DESCRIPTION_KEY}
_EMBEDDINGS = {TOKENS_TABLE: DESCRIPTION_KEY, VOCABULARY_TABLE: VOCABULARY_KEY, INLINE_TABLE: DESCRIPTION_KEY}


def move_former_priors(folder: Path, *, tell: Callable[[str], None]) -> int:
    """Move what version 0.1 left in `<folder>/descriptions` and `<folder>/embeddings` to today's names; how many
    folders that were. Each move, and why something can not be moved, is told.

    Part by part, so that there is always one copy of every row: killed in between, it goes on when called again. Raises
    CacheError for a part that can not be read, and where a run is at work.
    """
    moved = 0
    for home in sorted(file.parent for file in (folder / "descriptions").glob(f"[!.]*/{RECIPE_FILE}")):
        try:
            document = json.loads((home / RECIPE_FILE).read_text(encoding="utf-8"))
            if home.name != fingerprint_of(document) or "file_sha256" in document:
                continue  # of today, or imported: those are called what they were
            recipe = DescriptionRecipe.parse(document, source=str(home / RECIPE_FILE))
        except (OSError, ValueError, CacheError) as error:
            tell(f"left as it is: {error}")
            continue
        if not recipe.is_of_first_version:
            tell(f"left as it is: {home}: some of its settings mean something else by now")
        elif recipe.fingerprint() != home.name:
            # The words first: once the descriptions have their name, nothing leads to those of the former name.
            moved += _move_embeddings(folder / "embeddings", home.name, recipe.fingerprint(), tell)
            moved += _move(home, recipe, _DESCRIPTIONS, tell)
    return moved


def _move_embeddings(root: Path, before: str, now: str, tell: Callable[[str], None]) -> int:
    moved = 0
    for file in sorted(root.glob(f"[!.]*/{RECIPE_FILE}")):
        document = json.loads(file.read_text(encoding="utf-8"))
        if document.get("descriptions") == before:
            recipe = EmbeddingRecipe.parse({**document, "descriptions": now}, source=str(file))
            moved += _move(file.parent, recipe, _EMBEDDINGS, tell)
    return moved


def _move(home: Path, recipe: Recipe, tables: Mapping[str, tuple[str, ...]], tell: Callable[[str], None]) -> int:
    target = home.with_name(recipe.fingerprint())
    target.mkdir(exist_ok=True)
    recipe.save(target / RECIPE_FILE)
    parts = 0
    with ExitStack() as stack:
        for table, key in tables.items():
            if (schema := stored_schema(home / table)) is None:
                continue
            (target / table).mkdir(exist_ok=True)
            former, store = (PartStore(place, schema, key=key, table=table) for place in (home, target))
            stack.enter_context(former.lock())
            stack.enter_context(store.lock())
            parts += store.adopt(former)
        for file in home.glob("[!.]*"):
            if file.is_file() and file.name != RECIPE_FILE:
                file.replace(target / file.name)
        (home / RECIPE_FILE).unlink()  # last: as long as it is there, the move is found to be unfinished
        shutil.rmtree(home)
    tell(f"{home} -> {target.name} ({parts} parts)")
    return 1
