"""Encode the videos of a dataset as snippet features: one stream for each encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from pydantic import NonNegativeInt, PositiveInt

from cache.annotations import Dataset
from cache.errors import CacheError
from cache.files.lock import Shard, hold
from cache.recipe import Recipe
from cache.wording import amount
from pipelines.console import progress, say, table
from priors.features.encode import EncodeSummary, encode, videos_of
from priors.features.encoder import Encoder, load_encoders
from priors.features.flow import has_tvl1
from priors.features.notes import FAILED, Notes
from priors.features.recipes import EncoderSet, FeaturesRecipe, SnippetDecodeRecipe
from priors.features.record import open_features

_FAILURES_SHOWN = 50


class FeaturesRun(Recipe):
    """Which videos are encoded, and where the features are written."""

    dataset: Path
    """Folder of the dataset: annotations.json, videos/."""
    videos: Path | None = None
    """Folder of the videos; when not given, videos/ in the dataset's folder or the paths in the annotations."""
    folder: Path | None = None
    """Folder of the features. When not given, features/ in the dataset's folder; for streams without rgb, which stand
    beside others, the folder of the first one's name in it, such as features/clip/."""
    encoders: EncoderSet | None = None
    """Streams to start from, instead of the preset's own. i3d: rgb and flow; --streams.rgb.model and
    --streams.flow.model name the weight files. videomae, vjepa: rgb. clip, siglip, dino: a stream beside the others."""
    subsets: tuple[str, ...] = ()
    """Subsets to encode; all when not given."""
    num_shards: PositiveInt = 1
    """Number of processes that share the videos, each started separately with its own shard_index."""
    shard_index: NonNegativeInt = 0
    """Index of this process among them, from 0."""
    decode: Annotated[SnippetDecodeRecipe, tyro.conf.arg(name="")] = SnippetDecodeRecipe()
    """Parallel decoding."""
    features: Annotated[FeaturesRecipe, tyro.conf.arg(name="")]
    """Encoders and snippets."""
    preset_encoders: Annotated[EncoderSet | None, tyro.conf.Suppress] = None
    """The set of encoders that the streams are those of."""

    @property
    def target(self) -> Path:
        """The folder of the features."""
        if self.folder is not None:
            return self.folder
        first = next(iter(self.features.streams))
        return self.dataset / "features" / ("" if "rgb" in self.features.streams else first)

    @property
    def shard(self) -> Shard | None:
        """The shard of this process; None if there is only one. Raises CacheError if the index is invalid."""
        shard = Shard(self.shard_index, self.num_shards)
        return shard if shard.count > 1 else None


def main(recipe: FeaturesRun) -> int:
    """Encode the videos that have no features yet; 1 if any failed."""
    if recipe.encoders != recipe.preset_encoders:
        raise CacheError(
            f"encoders: found {recipe.encoders}, but the saved recipe has the streams of "
            f"{recipe.preset_encoders or 'its preset'}; start from a preset instead of --recipe"
        )
    dataset, shard = Dataset.load(recipe.dataset / "annotations.json", videos=recipe.videos), recipe.shard
    videos = videos_of(dataset, recipe.subsets)
    if shard is not None:
        videos = sorted(videos, key=lambda video: video.video_id)[shard.index :: shard.count]
    encoders = load_encoders(recipe.features, device=recipe.decode.device)
    _say_flow(recipe.features, encoders)
    store = open_features(recipe.target, recipe.features, encoders)
    done = EncodeSummary()
    with hold(store.folder, shard=shard), progress("features") as report:
        encode(
            videos,
            store,
            recipe.features,
            encoders,
            decode=recipe.decode,
            progress=lambda made, total: report(made, total, f"{done.frames_per_second:,.0f} frames/s"),
            summary=done,
            shard=shard,
        )
    _print_summary(done)
    snippets = f"{amount(done.snippets, 'snippet')} of {store.grid.width} numbers"
    say(f"{amount(done.encoded, 'video')} encoded ({snippets}), {done.skipped} already there: {store.folder}")
    if done.partial:
        table("Encoded in part", ["video", "reason"], done.partial)
    if done.failed:
        shown = done.failed[:_FAILURES_SHOWN]
        table("Failures: fix these videos and run the command again", ["video", "reason"], shown)
        if len(done.failed) > len(shown):
            say(f"... and {len(done.failed) - len(shown)} more: {Notes(store.folder, shard).path(FAILED)}")
    return 1 if done.failed else 0


def _say_flow(recipe: FeaturesRecipe, encoders: dict[str, Encoder]) -> None:
    """Which method `auto` stands for."""
    for name, stream in recipe.streams.items():
        if stream.input == "flow" and stream.flow_method == "auto":
            method = encoders[name].recipe.flow_method
            why = "" if has_tvl1() else "; TV-L1, as in published I3D features, needs opencv-contrib-python-headless"
            say(f"optical flow of stream {name}: {method}{why} (recorded in encoders.json)")


def _print_summary(done: EncodeSummary) -> None:
    if not done.frames:
        return
    working = done.decode_seconds + done.flow_seconds + done.encode_seconds
    parts = {"decoding": done.decode_seconds, "optical flow": done.flow_seconds, "encoding": done.encode_seconds}
    rows = [(name, f"{seconds / working:.0%}") for name, seconds in parts.items()]
    whole = done.encode_seconds + done.waited_seconds
    rows += [
        ("frames/s, from file to feature", f"{done.frames_per_second:,.0f}"),
        ("encoders waiting for decoded frames", f"{done.waited_seconds / whole:.0%} of the time"),
    ]
    table("Shares of the working time", ["", ""], rows)
