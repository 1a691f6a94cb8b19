"""Migration of descriptions and embeddings of version 0.1 to the folder names of this version."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from cache.errors import CacheError
from cache.files.lock import hold
from cache.recipe import Recipe, fingerprint_of
from cache.tables.embeddings import INLINE_TABLE, TOKENS_TABLE, VOCABULARY_TABLE
from cache.tables.folders import stored_schema
from cache.tables.schema import DESCRIPTION_KEY, VOCABULARY_KEY
from cache.tables.store import RECIPE_FILE, PartStore
from priors.run.recipe import DescriptionRecipe
from priors.words.embed import EmbeddingRecipe

_LEFT_BY_RUNS = (".lock*", ".workers", ".attempts-*", ".claim-*", ".unfinished-*")
_DESCRIPTIONS = {"": DESCRIPTION_KEY}
_EMBEDDINGS = {TOKENS_TABLE: DESCRIPTION_KEY, VOCABULARY_TABLE: VOCABULARY_KEY, INLINE_TABLE: DESCRIPTION_KEY}


def move_former_priors(folder: Path, *, tell: Callable[[str], None]) -> int:
    """Move what version 0.1 left in `<folder>/descriptions` and `<folder>/embeddings` to the names of this version.
    Returns the number of moved folders. `tell` gets each move, and each reason why something cannot be moved.

    Parquet files are moved one by one, so that there is always one copy of every row; an interrupted move continues
    when this is called again. A folder that cannot be moved, because of an unreadable file or an active run, does not
    stop the others.
    """
    moved = 0
    for home in sorted(file.parent for file in (folder / "descriptions").glob(f"[!.]*/{RECIPE_FILE}")):
        try:
            document = json.loads((home / RECIPE_FILE).read_text(encoding="utf-8"))
            if home.name != fingerprint_of(document) or "file_sha256" in document:
                continue  # of this version, or imported: their names are unchanged
            recipe = DescriptionRecipe.parse(document, source=str(home / RECIPE_FILE))
        except (OSError, ValueError, CacheError) as error:
            tell(f"left as it is: {error}")
            continue
        if not recipe.is_of_first_version:
            tell(f"left as it is: {home}: some of its settings mean something else by now")
        elif recipe.fingerprint() != home.name:
            # The embeddings first: they are found by the old name of the descriptions.
            moved += _move_embeddings(folder / "embeddings", home.name, recipe.fingerprint(), tell)
            moved += _told(tell, partial(_move, home, recipe, _DESCRIPTIONS, tell))
    return moved


def _move_embeddings(root: Path, before: str, now: str, tell: Callable[[str], None]) -> int:
    def move(file: Path) -> int:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document.get("descriptions") != before:
            return 0
        recipe = EmbeddingRecipe.parse({**document, "descriptions": now}, source=str(file))
        return _move(file.parent, recipe, _EMBEDDINGS, tell)

    return sum(_told(tell, partial(move, file)) for file in sorted(root.glob(f"[!.]*/{RECIPE_FILE}")))


def _told(tell: Callable[[str], None], move: Callable[[], int]) -> int:
    """The number of folders that `move` moved; an error is reported by `tell` instead."""
    try:
        return move()
    except (OSError, ValueError, AttributeError, CacheError) as error:
        tell(f"left as it is: {error}")
        return 0


def _move(home: Path, recipe: Recipe, tables: Mapping[str, tuple[str, ...]], tell: Callable[[str], None]) -> int:
    target = home.with_name(recipe.fingerprint())
    parts = 0
    with ExitStack() as stack:
        for place in dict.fromkeys([home, *(home / table for table in tables)]):
            if place.is_dir():
                stack.enter_context(hold(place))
        target.mkdir(exist_ok=True)
        recipe.save(target / RECIPE_FILE)
        for table, key in tables.items():
            if (schema := stored_schema(home / table)) is None:
                continue
            (target / table).mkdir(exist_ok=True)
            former, store = (PartStore(place, schema, key=key, table=table) for place in (home, target))
            stack.enter_context(store.lock())
            parts += store.adopt(former)
        for file in home.glob("[!.]*"):
            if file.is_file() and file.name != RECIPE_FILE:
                file.replace(target / file.name)
        (home / RECIPE_FILE).unlink()  # last: as long as it exists, the move counts as unfinished
    _clear(home, tables)
    tell(f"{home} -> {target.name} ({parts} parts)")
    if home.exists():
        tell(f"left there: {', '.join(sorted(path.name for path in home.iterdir()))} in {home}")
    return 1


def _clear(home: Path, tables: Mapping[str, tuple[str, ...]]) -> None:
    """Remove a folder whose rows have been moved, with the files that runs leave behind. If there are other files, they
    and the folder stay."""
    for place in dict.fromkeys([*(home / table for table in tables), home]):
        for pattern in _LEFT_BY_RUNS:
            for file in place.glob(pattern):
                file.unlink(missing_ok=True)
        with suppress(OSError):
            place.rmdir()
