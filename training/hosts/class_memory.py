"""The tokens that speak clearest for each class, over all training videos (RSKP, CVPR 2022): training alone reads them.

Axes: b videos, c action classes, s slots a class, m tokens a video, e embedding, n = (most classes of a video) * s.
"""

import torch
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from cache.recipe import Recipe
from training.hosts.host import first_step


class ClassMemoryRecipe(Recipe):
    """How much is kept, from when on, and what it teaches. The defaults are those of the public code on THUMOS14."""

    start: float = Field(default=100 / 350, ge=0, le=1)
    """Share of loop.steps before the memory is filled and read."""
    slots: PositiveInt = 5
    """Tokens a class."""
    weight: NonNegativeFloat = 0.5
    """Factor of both classifications for the branch that the memory moves."""
    share: float = Field(default=0.2, ge=0, le=1)
    """Share of that branch's T-CAM in the teacher of the original snippets."""
    teach: NonNegativeFloat = 0.5
    """Factor of that teaching from the start of the memory until there are frame labels."""

    def is_on(self, step: int, total_steps: int) -> bool:
        """Whether `step` lies behind the start."""
        return step >= first_step(self.start, total_steps)


class ClassMemory(nn.Module):
    """Of every class the tokens with the highest scores so far, with the scores that they had then.

    Its buffers are no weights: they are not in the state dict, and a checkpoint has them beside the optimizer's state.
    """

    tokens: Float[Tensor, "c s e"]
    scores: Float[Tensor, "c s"]
    """-inf where a slot is empty."""

    def __init__(self, num_classes: int, slots: int, width: int) -> None:
        super().__init__()
        self.register_buffer("tokens", torch.zeros(num_classes, slots, width), persistent=False)
        self.register_buffer("scores", torch.full((num_classes, slots), -torch.inf), persistent=False)

    def clear(self) -> None:
        """Forget everything."""
        self.tokens.zero_()
        self.scores.fill_(-torch.inf)

    @torch.no_grad()
    def update(
        self, tokens: Float[Tensor, "b m e"], scores: Float[Tensor, "b m c"], labels: Float[Tensor, "b c"]
    ) -> None:
        """Let the tokens of these videos compete for the slots of their own classes (`labels` > 0); earlier ones win
        ties."""
        slots, classes = self.scores.shape[1], torch.arange(len(self.scores), device=tokens.device)
        offered = scores.masked_fill((labels <= 0).unsqueeze(1), -torch.inf).flatten(0, 1).T
        ranked = torch.cat([self.scores, offered], dim=1).sort(dim=1, descending=True, stable=True)
        place = ranked.indices[:, :slots]
        kept = (classes * slots).unsqueeze(1) + place  # in the pool below: first all slots of all classes
        new = self.scores.numel() + place - slots
        pool = torch.cat([self.tokens.flatten(0, 1), tokens.flatten(0, 1)])
        self.tokens.copy_(pool[torch.where(place < slots, kept, new)])
        self.scores.copy_(ranked.values[:, :slots])

    def of_classes(
        self, labels: Float[Tensor, "b c"], *, most: int | None = None
    ) -> tuple[Float[Tensor, "b n e"], Bool[Tensor, "b n"]]:
        """Tokens of each video's own classes (`labels` > 0), and which of them there are; the rest pads.

        `most` is the greatest number of classes of a video; without it the labels' device is asked, and waited for.
        """
        most = max(1, int((labels > 0).sum(1).max()) if most is None else most)
        own, place = (labels > 0).int().sort(dim=1, descending=True, stable=True)
        place = place[:, :most]
        there = (own[:, :most] > 0).unsqueeze(-1) & self.scores[place].isfinite()
        return self.tokens[place].flatten(1, 2), there.flatten(1)
