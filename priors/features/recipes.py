"""The configs of snippet features: encoders, snippets, decoding, and the record of what made a folder of them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from cache.recipe import RUN_ONLY, Recipe

EncoderKind = Literal["transformers", "i3d", "image"]
EncoderSet = Literal["videomae", "vjepa", "i3d", "clip", "siglip", "dino"]
"""Streams that presets offer by one name."""
FlowMethod = Literal["auto", "tvl1", "dis"]
Crops = Literal["centre", "ten"]
_LEAST_I3D = 9
"""Frames below which nothing is left of a snippet after I3D's strides."""


class EncoderRecipe(Recipe):
    """The encoder of one stream."""

    kind: EncoderKind = "transformers"
    """transformers: a video model of transformers (VideoMAE, V-JEPA 2, TimeSformer, ViViT ...); features are the inputs
    of its last linear layer, or the mean of its tokens where it has none. i3d: Inception-3D with the Kinetics weights
    of its PyTorch port, 1024 wide. image: an image model (CLIP, SigLIP, DINO, any timm model), averaged over frames."""
    model: str
    """Hub id or folder of the model; for i3d the weight file, such as rgb_imagenet.pt or flow_imagenet.pt."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; None = its main branch."""
    input: Literal["rgb", "flow"] = "rgb"
    """Input of the encoder: RGB frames, or optical flow as two channels."""
    flow_bound: PositiveFloat = 20.0
    """Flow in pixels that is scaled to 1; larger displacements are clipped (20 for I3D)."""
    flow_method: FlowMethod = "dis"
    """Optical flow. tvl1: TV-L1, as in the published I3D features; needs `pip install opencv-contrib-python-headless`.
    dis: dense inverse search, faster and coarser. auto: tvl1 where it is installed, else dis; which is recorded."""
    frames: PositiveInt | None = None
    """Frames of a snippet that the encoder sees, at equal distances. None: as many as a video model was trained with,
    all for i3d, 4 for image."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision of the encoder. Half of it is for GPUs; features then have two to three significant digits."""
    crops: Crops = "centre"
    """centre: the centre of the picture. ten: the mean over centre, four corners, and their mirror images."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "i3d" and self.frames is not None:
            raise ValueError(f"frames: found {self.frames} for kind i3d, expected none: it sees every frame")
        if self.kind == "image" and self.input == "flow":
            raise ValueError("input: found flow for kind image, expected rgb: image models see pictures")
        if self.crops == "ten" and self.kind != "i3d":
            raise ValueError(f"crops: found ten for kind {self.kind}, expected centre; ten crops are for kind i3d")
        return self


class FeaturesRecipe(Recipe):
    """How snippet features are extracted."""

    streams: dict[str, EncoderRecipe]
    """The streams in the order of their columns."""
    fps: PositiveFloat = 25.0
    """Frames per second that videos are resampled to."""
    snippet_frames: PositiveInt = 16
    """Frames that one snippet covers."""
    snippet_stride: PositiveInt = 16
    """Frames from one snippet to the next; at most `snippet_frames`."""
    stored: Literal["float32", "float16"] = "float32"
    """Type of the numbers on disk; float16 takes half of the space, with three significant digits."""

    @model_validator(mode="after")
    def _no_gaps(self) -> Self:
        if self.snippet_stride > self.snippet_frames:
            raise ValueError(f"snippet_stride: found {self.snippet_stride}, expected at most {self.snippet_frames}")
        if self.snippet_frames < _LEAST_I3D and any(stream.kind == "i3d" for stream in self.streams.values()):
            raise ValueError(
                f"snippet_frames: found {self.snippet_frames}, expected at least {_LEAST_I3D} for kind i3d"
            )
        return self


class Preprocessing(Recipe):
    """The input of an encoder, as its weights ask for it; stands in the record, and is no choice."""

    frames: PositiveInt | None
    """Frames of a snippet, at equal distances; None = all."""
    side: PositiveInt
    """Height and width of the crop in pixels."""
    shorter_side: PositiveInt | None
    """Shorter side of the picture, in pixels, that flow is computed of and the crop is taken from. None: that of the
    crop, and flow is computed of the unscaled picture."""
    mean: tuple[float, ...]
    """By channel, of pixels from 0 to 255 or of flow in pixels; subtracted first."""
    spread: tuple[float, ...]
    """By channel; what is left is divided by it."""


class RecordedEncoder(EncoderRecipe):
    """An encoder as it was used: `model` is a hub id, or the name of a folder or weight file without its path;
    `revision` a commit, or a digest of the folder or file; `flow_method` the one that was taken."""

    weights: Annotated[str | None, RUN_ONLY] = None
    """Digest of the weights alone: the same model has it as a hub id, a folder, or a file of another name."""
    preprocessing: Annotated[Preprocessing | None, RUN_ONLY] = None
    """The input; it follows from the other fields."""


class RecordedFeatures(FeaturesRecipe):
    """What encoders.json holds: the recipe of the features beside it, by which they can be made on another machine."""

    streams: dict[str, RecordedEncoder]  # pyright: ignore[reportIncompatibleVariableOverride]  # narrower, and frozen
    """The streams in the order of their columns."""


class SnippetDecodeRecipe(Recipe):
    """How videos are decoded ahead of the encoders. These settings do not change the features."""

    workers: Annotated[PositiveInt, RUN_ONLY] = 2
    """Processes that decode and compute flow, each with one video at a time."""
    timeout_seconds: Annotated[PositiveFloat, RUN_ONLY] = 900.0
    """Time limit of the next snippets of a video; beyond it the video fails."""
    worker_memory_gib: Annotated[PositiveFloat, RUN_ONLY] = 8.0
    """Memory limit of a worker; a video that needs more fails."""
    chunk_snippets: Annotated[PositiveInt, RUN_ONLY] = 64
    """Largest number of snippets that a worker sends at once."""
    batch_size: Annotated[PositiveInt | None, RUN_ONLY] = None
    """Snippets that an encoder gets at once. A batch may be of several videos on a GPU. None: 64 there, else 8."""
    device: Annotated[str | None, RUN_ONLY] = None
    """Device of the encoders, such as cuda:1 or cpu. None: a GPU, where there is one."""
