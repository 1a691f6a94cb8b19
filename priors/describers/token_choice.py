"""How the next token is chosen, so that an answer never depends on what else is in the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TopPLogitsWarper,
)

from priors.describers.options import GenerationRecipe
from priors.describers.protocol import Request


class OnNewTokens(LogitsProcessor):
    """Shows another processor the new tokens alone.

    The prompt would count otherwise, and with it the padding before it, which differs from batch to batch and may be
    the very token that ends an answer; nor could the answer name an action that the prompt names.
    """

    def __init__(self, inner: LogitsProcessor, prompt_length: int) -> None:
        self._inner = inner
        self._prompt_length = prompt_length

    def __call__(
        self, input_ids: Int[torch.Tensor, "b l"], scores: Float[torch.Tensor, "b v"]
    ) -> Float[torch.Tensor, "b v"]:
        """The scores as the other processor changes them."""
        return self._inner(input_ids[:, self._prompt_length :], scores)  # pyright: ignore[reportArgumentType]


class Draw(LogitsProcessor):
    """Makes greedy search draw from the distribution, each row from random numbers of its own.

    The token with the highest score plus Gumbel noise is distributed as if it were drawn from their softmax.
    """

    def __init__(self, temperature: float, top_p: float, seeds: Sequence[int]) -> None:
        self._temperature = temperature
        self._most_likely = TopPLogitsWarper(top_p) if top_p < 1 else None
        self._seeds = seeds
        self._generators: list[torch.Generator] = []

    def __call__(
        self, input_ids: Int[torch.Tensor, "b l"], scores: Float[torch.Tensor, "b v"]
    ) -> Float[torch.Tensor, "b v"]:
        """Scores whose maximum is the token drawn."""
        if not self._generators:
            self._generators = [torch.Generator(scores.device).manual_seed(seed) for seed in self._seeds]
        scores = scores.float() / self._temperature
        if self._most_likely is not None:
            scores = self._most_likely(input_ids, scores)  # pyright: ignore[reportArgumentType]
        noise = torch.stack([torch.empty_like(scores[0]).exponential_(generator=own) for own in self._generators])
        return scores - noise.clamp_min(torch.finfo(noise.dtype).tiny).log()


def processors(settings: GenerationRecipe, prompt_length: int, seeds: Sequence[int]) -> LogitsProcessorList:
    """What `generate` is to do to the scores; `seeds` has one number a row, or none where nothing is drawn."""
    chosen = LogitsProcessorList()
    if settings.repetition_penalty != 1:
        chosen.append(OnNewTokens(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty), prompt_length))
    if settings.no_repeat_ngram:
        chosen.append(OnNewTokens(NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram), prompt_length))
    if settings.temperature > 0:
        chosen.append(Draw(settings.temperature, settings.top_p, seeds))
    return chosen


def row_seed(settings: GenerationRecipe, request: Request) -> int:
    """The seed of one request: of the question and the frames, so that two videos never share their luck."""
    digest = hashlib.blake2b(digest_size=7)
    for part in (str(settings.seed).encode(), request.prompt.encode(), request.frames.seconds.tobytes()):
        digest.update(len(part).to_bytes(8, "little") + part)
    digest.update(request.frames.rgb.tobytes())
    return int.from_bytes(digest.digest(), "little")
