"""The protocol of describers (captioning models, MLLMs): frames and a prompt in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cache.tables.schema import FinishReason
from priors.video.frames import Frames


@dataclass(frozen=True, eq=False)
class Request:
    """One question about one video."""

    frames: Frames
    prompt: str
    max_new_tokens: int
    again: bool = False
    """A retry, because the first text was flagged: the describer uses its settings for retries."""


@dataclass(frozen=True)
class Reply:
    """The model's answer, without the prompt."""

    text: str
    prompt_tokens: int
    """Input tokens, frames included."""
    new_tokens: int
    """Generated tokens, the end of sequence included."""
    finish_reason: FinishReason


@dataclass(frozen=True)
class Failure:
    """Why a single request has no answer: its key becomes a failed row."""

    reason: str


@dataclass(frozen=True, eq=False)
class Prepared:
    """Requests prepared for `describe`; the type of `inputs` is private to the describer."""

    requests: tuple[Request, ...]
    inputs: Any


class Describer(Protocol):
    """Anything that answers requests. An answer must not depend on what else is in the batch."""

    model_id: str
    model_revision: str

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """CPU work: prompts to tokens, pictures to tensors.

        One other thread may call it while `describe` runs. A request that cannot be used raises nothing; `describe`
        returns a Failure for it.
        """
        ...

    def describe(self, prepared: Prepared) -> list[Reply | Failure]:
        """Work of the model: one Reply or Failure per request, in order.

        Raises ModelError if the model cannot be used any more. Any other exception concerns this batch: the caller may
        split it and try again.
        """
        ...


def answers(describer: Describer, requests: Sequence[Request]) -> list[Reply]:
    """Prepare and describe in one call. Raises ValueError for the first request that has no answer."""
    replies = []
    for reply in describer.describe(describer.prepare(requests)):
        if isinstance(reply, Failure):
            raise ValueError(reply.reason)
        replies.append(reply)
    return replies
