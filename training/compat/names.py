"""Names of the hosts' weights in their public code, and how these become ours."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from training.errors import TrainingError

PublicHost = Literal["co2net", "delu", "ddgnet", "um", "gaufuse"]
"""Hosts whose public code saves weights that are read here, by their `kind`."""

_FUSED = {"fusion": "fusion.0", "classifier.0": "classifier.1", "classifier.1": "classifier.4"}
_CONSENSUS = {
    f"{ours}.{part}": f"{theirs}.{name}"
    for ours, theirs in (("first", "vAttn"), ("second", "fAttn"))
    for part, name in (
        ("channel", "channel_conv.0"),
        ("local", "bit_wise_attn.0"),
        ("attention.0", "attention.0"),
        ("attention.1", "attention.3"),
        ("attention.2", "attention.5"),
    )
} | _FUSED
_GRAPH = (
    {f"attentions.{s}.{i}": f"Attn.attentions.{s}.{place}" for s in (0, 1) for i, place in enumerate((0, 3, 5))}
    | {
        f"convolutions.{s}.{kind}.{layer}": f"Attn.{kind}_graph.{s}.{layer}"
        for s in (0, 1)
        for kind in ("action", "background")
        for layer in (0, 1)
    }
    | _FUSED
)
OFFICIAL_NAMES: Mapping[str, Mapping[str, str]] = {
    "co2net": _CONSENSUS,
    "delu": _CONSENSUS,
    "ddgnet": _GRAPH,
    "um": {"embed": "cas_module.conv.0", "classifier": "cas_module.classifier.0"},
    "gaufuse": {
        "embed": "feature_embedding.0",
        "tokens": "mu",
        "classes": "ac_center",
        "foreground": "fg_center",
    },
}
"""By the kind of host: our modules (or bare parameters), and what the public code calls them."""

_TWO_STREAM = {"width": "fusion.0.weight", "attention_width": "vAttn.attention.0.weight"}
RECIPE_WEIGHTS: Mapping[PublicHost, Mapping[str, str]] = {
    "co2net": _TWO_STREAM,
    "delu": _TWO_STREAM,
    "ddgnet": _TWO_STREAM | {"attention_width": "Attn.attentions.0.0.weight"},
    "um": {"width": "cas_module.conv.0.weight"},
    "gaufuse": {"width": "feature_embedding.0.weight", "tokens": "mu"},
}
"""By the kind of host: fields of its recipe, and the weight of the public code that has so many rows."""
CLASS_WEIGHTS: Mapping[PublicHost, str] = {
    **dict.fromkeys(("co2net", "delu", "ddgnet"), "classifier.4.weight"),
    "um": "cas_module.classifier.0.weight",
    "gaufuse": "ac_center",
}
"""By the kind of host: the weight of the public code that has a row for each class."""
UNUSED = ("feat_encoder.",)
"""Beginnings of names that the public code saves and never runs."""


def official_name(kind: str, ours: str) -> str:
    """What the public code of this kind of host calls a parameter of ours."""
    names = OFFICIAL_NAMES[kind]
    if ours in names:
        return names[ours]
    module, _, leaf = ours.rpartition(".")
    return f"{names[module.removesuffix('.linear')]}.{leaf}"


def load_official(host: nn.Module, kind: str, weights: Mapping[str, Tensor]) -> None:
    """Fill `host` with the weights of the public code; weights that it has no use for (feat_encoder) are passed over.

    A convolution there is (out, in, taps); here it is one matrix (out, taps * in), and of more taps than ours has it
    keeps the middle ones (those of the channel descriptor, an input of length 1, meet zeros elsewhere). Raises
    `TrainingError` where a weight is missing or of another shape.
    """
    found: dict[str, Tensor] = {}
    for ours, parameter in host.state_dict().items():
        theirs = official_name(kind, ours)
        if theirs not in weights:
            raise TrainingError(f"weights of {kind}: found no {theirs}, expected it; is the file another method's?")
        value = _as_matrix(weights[theirs], parameter) if weights[theirs].ndim == 3 else weights[theirs]
        if value.shape != parameter.shape:
            raise TrainingError(
                f"weights of {kind}, {theirs}: found {tuple(weights[theirs].shape)}, expected what fits "
                f"{tuple(parameter.shape)}; are classes and feature width those of the file?"
            )
        found[ours] = value
    host.load_state_dict(found)


def _as_matrix(weight: Tensor, like: Tensor) -> Tensor:
    width, taps = weight.shape[1:]
    kept = like.shape[-1] // width
    first = (taps - kept) // 2
    return torch.cat([weight[:, :, first + tap] for tap in range(kept)], dim=1)
