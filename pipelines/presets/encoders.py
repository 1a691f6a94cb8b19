"""The streams that `make features ARGS="--encoders NAME"` starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from priors.features.recipes import EncoderRecipe, EncoderSet


def streams_of(encoders: EncoderSet) -> dict[str, EncoderRecipe]:
    """The streams of a set, in order; options change their fields."""
    from priors.features.recipes import EncoderRecipe

    match encoders:
        case "videomae":
            return {"rgb": EncoderRecipe(model="MCG-NJU/videomae-base-finetuned-kinetics")}
        case "i3d":
            return {
                "rgb": EncoderRecipe(kind="i3d", model="rgb_imagenet.pt"),
                "flow": EncoderRecipe(kind="i3d", model="flow_imagenet.pt", input="flow", flow_method="auto"),
            }
        case "clip":
            return {"clip": EncoderRecipe(kind="image", model="openai/clip-vit-base-patch16")}
        case "siglip":
            return {"siglip": EncoderRecipe(kind="image", model="google/siglip-base-patch16-224")}
        case "dino":
            return {"dino": EncoderRecipe(kind="image", model="facebook/dinov2-base")}
        case "vjepa":
            return {"rgb": EncoderRecipe(model="facebook/vjepa2-vitl-fpc16-256-ssv2")}
