"""Compare snippet features with those that somebody else made of the same videos: length, scale, cosine by stream."""

from __future__ import annotations

from pathlib import Path

from cache.errors import CacheError
from cache.features import FeatureStore, map_npy
from cache.recipe import Recipe
from cache.wording import amount
from pipelines.console import say, table
from priors.features.comparison import Comparison, compare


class CheckFeaturesRun(Recipe):
    """Which features are compared."""

    dataset: Path
    """Folder of the dataset, with features/."""
    against: tuple[Path, ...]
    """Files .npy of (snippets, width), named like the videos, or folders of them; of all streams or of one."""
    features: Path | None = None
    """Folder of the features; features/ in the dataset's folder when not given."""
    video: str | None = None
    """Video of a single file that is not named like it."""
    least_cosine: float = 0.9
    """Mean cosine below which a stream counts as different; features of another flow method have about this much."""


def main(recipe: CheckFeaturesRun) -> int:
    """Print the comparison of each video; 1 if any differs."""
    store = FeatureStore.open(recipe.features or recipe.dataset / "features")
    pairs = _pairs(recipe, store)
    rows: list[list[str]] = []
    hints: dict[str, list[str]] = {}
    different = 0
    for video, path in pairs.items():
        try:
            found = compare(store.load(video), map_npy(path), store.grid)
        except ValueError as error:
            raise CacheError(f"{path}: {error}") from error
        different += not found.same_length or any(one.cosine < recipe.least_cosine for one in found.streams)
        rows += [
            [video, one.stream, f"{found.ours} / {found.theirs}", f"{one.scale:.3g}", f"{one.cosine:.3f}",
             f"{one.by_chance:.3f}"]
            for one in found.streams
        ]  # fmt: skip
        for hint in _hints(found):
            hints.setdefault(hint, []).append(video)
    header = ["video", "stream", "snippets: here / there", "scale", "cosine", "of unrelated snippets"]
    table("Features compared with those of others", header, rows)
    for hint, videos in hints.items():
        say(f"{hint} ({amount(len(videos), 'video')}, such as {videos[0]})")
    say(f"{len(pairs) - different} of {amount(len(pairs), 'video')} alike (cosine at least {recipe.least_cosine:g})")
    return 1 if different else 0


def _hints(found: Comparison) -> list[str]:
    return [*found.hints, *(f"{one.stream}: {hint}" for one in found.streams for hint in one.hints)]


def _pairs(recipe: CheckFeaturesRun, store: FeatureStore) -> dict[str, Path]:
    """Video -> file of others. Raises CacheError for one that has no features here, or if there is none."""
    files = [file for path in recipe.against for file in (sorted(path.glob("*.npy")) if path.is_dir() else [path])]
    if recipe.video is not None and len(files) != 1:
        raise CacheError(f"video: found {amount(len(files), 'file')}, expected one file of video {recipe.video!r}")
    pairs = {recipe.video or path.stem: path for path in files}
    lacking = [path for video, path in pairs.items() if not store.has(video)]
    if not pairs or lacking:
        found = f"{lacking[0]}: {store.folder} has no features of a video of this name" if lacking else "found no .npy"
        raise CacheError(f"against: {found}; expected files named like videos here, or one file with --video NAME")
    return pairs
