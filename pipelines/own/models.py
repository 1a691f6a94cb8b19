"""The models of the road: those that were named, those that this machine has, or a message that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cache.errors import CacheError
from cache.recipe import Recipe
from priors.describers.families import FAMILIES
from priors.describers.recipe import DescriberRecipe
from priors.pretrained.availability import Available, available, first_available

ENCODERS = ("MCG-NJU/videomae-base-finetuned-kinetics", "MCG-NJU/videomae-small-finetuned-kinetics")
"""Encoders of features, the preferred one first."""
_ENCODER_KINDS = (
    "VideoMAEForVideoClassification",
    "TimesformerForVideoClassification",
    "VivitForVideoClassification",
)
DESCRIBERS = (
    DescriberRecipe().model,
    "Qwen/Qwen2.5-VL-3B-Instruct",
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
)
"""Models that describe videos, the preferred one first."""
WORDS = Path("glove.6B.300d.txt")
NONE, I3D = "none", "i3d"
I3D_FILES = ("rgb_imagenet.pt", "flow_imagenet.pt")
_TINY = Path("pipelines/demo/checkpoints")
_PLACES = {"folder": "folder", "files": ", ".join(I3D_FILES), "cache": "Hugging Face cache", "hub": "the Hub"}


class Asked(Recipe):
    """What is asked for; what is None is chosen."""

    encoder: str | None = None
    """Encoder of snippet features: Hub id or folder of a video classifier of transformers; or i3d, the two streams rgb
    and flow, by the weight files rgb_imagenet.pt and flow_imagenet.pt in this folder."""
    describer: str | None = None
    """Model that describes the videos: Hub id or folder of a video chat model. none: no descriptions, and the host is
    trained alone."""
    words: Path | None = None
    """File of word vectors, such as glove.6B.300d.txt."""
    tiny: bool = False
    """Use the tiny models of the demo instead. They run anywhere and in minutes, and know nothing about your videos:
    the segments mean nothing."""


@dataclass(frozen=True)
class Models:
    """The models that are used."""

    encoder: Available
    describer: Available | None
    """None: the host is trained alone."""
    words: Path | None

    def rows(self) -> list[list[str]]:
        """What each is for, its name, and where it is."""
        rows = [["features", self.encoder.model, _where(self.encoder)]]
        if self.describer is None:
            rows.append(["descriptions", "none: the host is trained alone", ""])
        else:
            rows.append(["descriptions", self.describer.model, _where(self.describer)])
            rows.append(["word vectors", str(self.words), "file"])
        return rows

    def asked(self) -> Asked:
        """The same as what would ask for it."""
        describer = NONE if self.describer is None else self.describer.model
        return Asked(encoder=self.encoder.model, describer=describer, words=self.words)


def choose(asked: Asked) -> Models:
    """The models to use. Raises CacheError, which names all that are missing and what to do, if any are."""
    if asked.tiny:
        _refuse_both(asked)
        names = (str(_TINY / name) for name in ("rgb_encoder", "describer"))
        encoder, describer = (Available(name, "folder") for name in names)
        return Models(encoder, describer, _TINY / "words.txt")
    lacking: list[str] = []
    if asked.encoder == I3D:
        encoder = _i3d(lacking)
    else:
        encoder = _find("encoder", asked.encoder, ENCODERS, _ENCODER_KINDS, lacking)
    describer = words = None
    if asked.describer != NONE:
        describer = _find("describer", asked.describer, DESCRIBERS, tuple(FAMILIES), lacking)
        words = asked.words or WORDS
        if not words.exists():
            lacking.append(
                f"words: {words}: no such file of word vectors; GloVe's is glove.6B.zip of "
                "https://nlp.stanford.edu/projects/glove (docs/words.md); name a file with --words"
            )
    if lacking or encoder is None:
        raise CacheError("\n".join(["found no usable model for a part of the way:", *lacking, *_ways_out()]))
    return Models(encoder, describer, words)


def _find(
    field: Literal["encoder", "describer"],
    named: str | None,
    preferred: tuple[str, ...],
    kinds: tuple[str, ...],
    lacking: list[str],
) -> Available | None:
    found = first_available(preferred, kinds=kinds) if named is None else available(named)
    if found is None and named is None:
        lacking.append(
            f"{field}: none in the Hugging Face cache, and the Hub does not answer or is not asked (HF_HUB_OFFLINE); "
            f"where there is a network, run `hf download {preferred[0]}`, or name a folder with --{field}"
        )
    elif found is None:
        lacking.append(
            f"{field}: {named} is no folder here, not complete in the Hugging Face cache, nor to be had from the Hub"
        )
    return found


def _i3d(lacking: list[str]) -> Available | None:
    """I3D by its two weight files, as `make features ARGS="--encoders i3d"` takes them."""
    if absent := [name for name in I3D_FILES if not Path(name).exists()]:
        lacking.append(f"encoder: i3d: no {' and no '.join(absent)} in this folder (docs/features.md)")
        return None
    return Available(I3D, "files")


def _ways_out() -> list[str]:
    return [
        "Without descriptions: --describer none trains the host alone, and needs no word vectors.",
        "To see the way work with models that know nothing about your videos: --tiny.",
    ]


def _refuse_both(asked: Asked) -> None:
    named = [name for name in ("encoder", "describer", "words") if getattr(asked, name) is not None]
    if named:
        raise CacheError(f"tiny: found it beside {', '.join(named)}, expected one or the other")


def _where(model: Available) -> str:
    size = "" if model.bytes is None else f", {model.bytes / 1e9:.1f} GB to download"
    return _PLACES[model.place] + size
