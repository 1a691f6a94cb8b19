"""What the caches of a dataset hold: counts, coverage by class, failures with their reasons, samples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import NonNegativeInt

from cache.annotations import Dataset
from cache.audit import Audit, audit
from cache.embeddings import PriorTexts, load_prior_texts
from cache.features import GRID_FILE, FeatureStore
from cache.recipe import Recipe
from cache.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.store import PartStore, only_fingerprint
from pipelines.console import launch, say, table


class InspectRun(Recipe):
    """Which caches to look into."""

    dataset: Path
    """Folder of the dataset: annotations.json, descriptions/, embeddings/, features/."""
    subset: str = "training"
    """Subset whose priors are looked at."""
    descriptions: Path | None = None
    """Folder descriptions/<fingerprint>; needed only where there are several."""
    embeddings: Path | None = None
    """Folder embeddings/<fingerprint>; needed only where there are several."""
    action_class: str | None = None
    """Show samples of this class alone."""
    samples: NonNegativeInt = 4
    """How many videos' descriptions are shown."""


def main(recipe: InspectRun) -> int:
    """Print what is there; 1 if something in it stops training."""
    dataset = Dataset.load(recipe.dataset / "annotations.json")
    if recipe.action_class is not None:
        dataset.class_index(recipe.action_class)
    _print_dataset(dataset, recipe.dataset)
    made_by = "make priors"
    home = recipe.descriptions or only_fingerprint(
        recipe.dataset / "descriptions", made_by=made_by, chosen_by="--descriptions"
    )
    store = PartStore.open(home, DESCRIPTIONS, key=DESCRIPTION_KEY)
    texts = _texts(recipe)
    found = audit(dataset, recipe.subset, store, texts)
    say(f"\n{home}")
    _print_audit(found, texts)
    _print_samples(store, recipe, {video.video_id for video in dataset.split(recipe.subset)})
    return 0 if found.ok else 1


def _texts(recipe: InspectRun) -> PriorTexts | None:
    folder = recipe.embeddings
    if folder is None:
        root = recipe.dataset / "embeddings"
        if not root.is_dir():
            return None
        folder = only_fingerprint(root, made_by="make priors", chosen_by="--embeddings")
    return load_prior_texts(folder)


def _print_dataset(dataset: Dataset, data: Path) -> None:
    features = FeatureStore.open(data / "features") if (data / "features" / GRID_FILE).exists() else None
    rows = []
    for subset in sorted({video.subset for video in dataset.videos}):
        videos = dataset.split(subset)
        counts = [
            len(videos),
            sum(video.path is not None and video.path.exists() for video in videos),
            sum(features is not None and features.has(video.video_id) for video in videos),
            sum(len(video.labels) for video in videos),
            sum(len(video.segments) for video in videos),
        ]
        rows.append([subset, *map(str, counts)])
    title = f"{dataset.name}: {len(dataset.classes)} classes"
    table(title, ["subset", "videos", "with file", "with features", "video labels", "segments"], rows)


def _print_audit(found: Audit, texts: PriorTexts | None) -> None:
    by_class: dict[str, dict[str, str]] = {}
    for row in found.coverage:
        by_class.setdefault(row.action_class, {})[row.kind] = f"{row.ok}/{row.expected}"
    rows = [[name, kinds["key"], kinds["complete"]] for name, kinds in by_class.items()]
    table("Descriptions, made / expected", ["class", "key", "complete"], rows)
    if texts is not None and found.out_of_vocabulary is not None:
        say(f"{len(texts.words)} words, {found.out_of_vocabulary:.1%} of the tokens out of the vocabulary")
    counts = {"missing": found.missing, **found.flagged}
    say(", ".join(f"{len(keys)} {name}" for name, keys in counts.items()))
    if found.failed:
        table("Failures", ["video", "class", "kind", "reason"], [[*key, reason] for key, reason in found.failed])
        table("Reasons", ["reason", "rows"], [[why, str(n)] for why, n in Counter(r for _, r in found.failed).items()])
    for line in found.errors:
        say(f"stops training: {line}")
    for line in found.warnings:
        say(f"note: {line}")


def _print_samples(store: PartStore, recipe: InspectRun, video_ids: set[str]) -> None:
    rows = store.table([*DESCRIPTION_KEY, "description", "status"]).to_pylist()
    shown: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        wanted = recipe.action_class in (None, row["action_class"]) and row["video_id"] in video_ids
        if wanted and row["status"] == "ok":
            lines = shown.setdefault((row["video_id"], row["action_class"]), [])
            lines.append(f"  {row['kind']}: {row['description']}")
    for (video_id, action_class), lines in list(shown.items())[: recipe.samples]:
        say(f"\n{video_id}, {action_class}")
        for line in lines:
            say(line)


if __name__ == "__main__":
    from pipelines import inspect_cache, presets

    launch("inspect_cache", presets.choices(lambda preset: preset.inspect()), inspect_cache.main)
