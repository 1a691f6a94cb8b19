"""Logits processors for generation, such that an answer never depends on what else is in the batch."""

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
    """Applies another logits processor to the new tokens only.

    Otherwise the prompt would count, too, with its left padding, which differs between batches and may be the
    end-of-sequence token; and the answer could not repeat the action that the prompt names.
    """

    def __init__(self, inner: LogitsProcessor, prompt_length: int) -> None:
        self._inner = inner
        self._prompt_length = prompt_length

    def __call__(
        self, input_ids: Int[torch.Tensor, "b l"], scores: Float[torch.Tensor, "b v"]
    ) -> Float[torch.Tensor, "b v"]:
        """The logits as the inner processor changes them."""
        return self._inner(input_ids[:, self._prompt_length :], scores)  # pyright: ignore[reportArgumentType]


class Draw(LogitsProcessor):
    """Turns greedy search into sampling, with a random generator for each row.

    The argmax of logits plus Gumbel noise is distributed as a sample from their softmax.
    """

    def __init__(self, temperature: float, top_p: float, seeds: Sequence[int]) -> None:
        self._temperature = temperature
        self._most_likely = TopPLogitsWarper(top_p) if top_p < 1 else None
        self._seeds = seeds
        self._generators: list[torch.Generator] = []

    def __call__(
        self, input_ids: Int[torch.Tensor, "b l"], scores: Float[torch.Tensor, "b v"]
    ) -> Float[torch.Tensor, "b v"]:
        """Logits whose maximum is the sampled token."""
        if not self._generators:
            self._generators = [torch.Generator(scores.device).manual_seed(seed) for seed in self._seeds]
        scores = scores.float() / self._temperature
        if self._most_likely is not None:
            scores = self._most_likely(input_ids, scores)  # pyright: ignore[reportArgumentType]
        noise = torch.stack([torch.empty_like(scores[0]).exponential_(generator=one) for one in self._generators])
        return scores - noise.clamp_min(torch.finfo(noise.dtype).tiny).log()


def processors(settings: GenerationRecipe, prompt_length: int, seeds: Sequence[int]) -> LogitsProcessorList:
    """The logits processors of `generate`; `seeds` has one number per row, or none without sampling."""
    chosen = LogitsProcessorList()
    if settings.repetition_penalty != 1:
        chosen.append(OnNewTokens(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty), prompt_length))
    if settings.no_repeat_ngram:
        chosen.append(OnNewTokens(NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram), prompt_length))
    if settings.temperature > 0:
        chosen.append(Draw(settings.temperature, settings.top_p, seeds))
    return chosen


def row_seed(settings: GenerationRecipe, request: Request) -> int:
    """The seed of one request, from the prompt and the frames, so that two videos never share random numbers."""
    digest = hashlib.blake2b(digest_size=7)
    for part in (str(settings.seed).encode(), request.prompt.encode(), request.frames.seconds.tobytes()):
        digest.update(len(part).to_bytes(8, "little") + part)
    digest.update(request.frames.rgb.tobytes())
    return int.from_bytes(digest.digest(), "little")
