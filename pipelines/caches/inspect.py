"""Show the caches of a dataset: coverage, failures, flags, lengths, words, samples; also as JSON or HTML."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from cache.annotations import Dataset
from cache.descriptions.differences import differences
from cache.errors import CacheError
from cache.tables.folders import newest_folder
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.tables.store import PartStore
from pipelines.caches.inspect_print import print_differences, print_inspection
from pipelines.caches.inspection import InspectRun, check_choice, chosen_videos, inspect
from pipelines.console import say
from pipelines.pages.gallery.source import GallerySource, write_gallery


def main(recipe: InspectRun) -> int:
    """Print the caches; 1 if `strict` is set and they are incomplete."""
    dataset = Dataset.load(recipe.dataset / "annotations.json", videos=recipe.videos)
    check_choice(recipe, dataset)
    home = recipe.descriptions or newest_folder(recipe.dataset / "descriptions", but=recipe.diff).path
    store = PartStore.open(home, DESCRIPTIONS, key=DESCRIPTION_KEY)
    if recipe.diff is not None:
        if recipe.html is not None:
            raise CacheError("html: the page shows a single folder of descriptions; leave out --diff or --html")
        other = PartStore.open(recipe.diff, DESCRIPTIONS, key=DESCRIPTION_KEY)
        found = differences(store, other, shown=max(recipe.samples, 1))
        if recipe.as_json:
            say(_json(found))
        else:
            print_differences(found, home, recipe.diff)
        return 0
    shown = inspect(recipe, dataset, store)
    if recipe.as_json:
        say(_json(shown))
    else:
        print_inspection(shown)
    if recipe.html is not None:
        videos = chosen_videos(recipe, dataset)
        source = GallerySource(dataset, videos, store, shown.words_of, recipe.action_class, recipe.limit)
        summary = write_gallery(recipe.html, source)
        if not recipe.as_json:
            say(f"\npage: {recipe.html} ({summary})")
    complete = shown.audit.ok and not shown.audit.missing and not shown.audit.failed
    return 1 if recipe.strict and not complete else 0


def _json(found: Any) -> str:
    return json.dumps(asdict(found), default=str, ensure_ascii=False, indent=2)
