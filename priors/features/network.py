"""What loading a pretrained encoder gives: its network, its input, and what identifies its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from priors.features.recipes import Preprocessing

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Network:
    """A pretrained encoder."""

    module: torch.nn.Module
    """Normalised snippets (s, frames, c, side, side) in, features (s, width) out."""
    width: int
    input: Preprocessing
    revision: str
    """Commit of a hub model; digest of a folder with its configuration, or of a weight file."""
    weights: str
    """Digest of the weights alone."""
