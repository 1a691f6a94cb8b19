"""Describers: frames and a prompt in, text out. What all of them take and give, and which one a recipe means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import JsonValue, PositiveInt

from cache.recipe import Recipe
from cache.schema import FinishReason
from priors.frames import Frames
from priors.model_files import model_id, resolve_revision


@dataclass(frozen=True, eq=False)
class Request:
    """One question about one video."""

    frames: Frames
    prompt: str
    max_new_tokens: int
    again: bool = False
    """Asked a second time because the first text was of little use: the describer uses its settings for that."""


@dataclass(frozen=True)
class Reply:
    """What the model answered: new tokens only."""

    text: str
    prompt_tokens: int
    """Tokens shown to the model, frames included."""
    new_tokens: int
    """Tokens generated, the end of sequence included."""
    finish_reason: FinishReason


@dataclass(frozen=True)
class Failure:
    """Why one request has no answer, through no fault of the others: its key becomes a failed row."""

    reason: str


@dataclass(frozen=True, eq=False)
class Prepared:
    """Requests made ready for `describe`; what `inputs` holds is the describer's own affair."""

    requests: tuple[Request, ...]
    inputs: Any


class Describer(Protocol):
    """Anything that answers requests. An answer must not depend on what else is in the batch."""

    model_id: str
    model_revision: str

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """The work of the processor cores: prompts to tokens, pictures to tensors.

        One other thread may call it while `describe` runs. A request that cannot be asked is not raised but becomes
        the Failure that `describe` gives for it.
        """
        ...

    def describe(self, prepared: Prepared) -> list[Reply | Failure]:
        """The work of the model: one Reply or Failure a request, in order.

        Raises ModelError if the model as such cannot go on. Any other exception concerns the batch as a whole: the
        caller may divide it and try again.
        """
        ...


class DescriberRecipe(Recipe):
    """Which model describes, and how it runs."""

    model: str = "lkhl/VideoLLaMA3-2B-Image-HF"
    """Hub id or folder of a video chat model in transformers' format."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; None is its main branch."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of weights and arithmetic; auto is bfloat16 on a GPU and float32 without one."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention kernel."""
    device_map: str = "auto"
    """Where the weights go: auto (accelerate spreads them over what there is), cpu, cuda:1 ..."""
    batch_size: PositiveInt = 8
    """Requests answered at once."""
    max_pixels: PositiveInt | None = None
    """Pixels of a frame that the processor may keep; None is the model's own. Only where the model lets sizes vary."""
    key_tokens: PositiveInt = 64
    """Most new tokens of a key description."""
    complete_tokens: PositiveInt = 256
    """Most new tokens of a complete description."""


class CannedDescriber:
    """Answers from a function instead of a model: for tests, and for texts that were made elsewhere."""

    def __init__(
        self, answer: Callable[[Request], str], *, model_id: str = "canned", model_revision: str = "canned"
    ) -> None:
        self.model_id = model_id
        self.model_revision = model_revision
        self._answer = answer

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Nothing to do."""
        return Prepared(tuple(requests), None)

    def describe(self, prepared: Prepared) -> list[Reply | Failure]:
        """One reply a request; words count as tokens."""
        replies: list[Reply | Failure] = []
        for request in prepared.requests:
            words = self._answer(request).split()
            cut = len(words) > request.max_new_tokens
            kept = words[: request.max_new_tokens]
            replies.append(Reply(" ".join(kept), len(request.prompt.split()), len(kept), "length" if cut else "eos"))
        return replies


def make_describer(recipe: DescriberRecipe) -> Describer:
    """Load the describer that the recipe means. Raises ModelError if it cannot be used."""
    from priors.hf_describer import HfDescriber

    return HfDescriber(recipe)


def describer_identity(recipe: DescriberRecipe) -> tuple[str, str]:
    """(model_id, model_revision) of that describer, without loading it. Raises ModelError if there is no such model."""
    return model_id(recipe.model), resolve_revision(recipe.model, recipe.revision)


def answers(describer: Describer, requests: Sequence[Request]) -> list[Reply]:
    """Prepare and describe in one call. Raises ValueError for the first request that has no answer."""
    replies = []
    for reply in describer.describe(describer.prepare(requests)):
        if isinstance(reply, Failure):
            raise ValueError(reply.reason)
        replies.append(reply)
    return replies


def text_settings(recipe: DescriberRecipe) -> dict[str, JsonValue]:
    """All choices of the recipe that change a text, and none that only change how fast it comes.

    Raises ModelError if there is no such model.
    """
    name, revision = describer_identity(recipe)
    return {
        "model": name,
        "model_revision": revision,
        "dtype": resolve_dtype(recipe.dtype),
        "max_pixels": recipe.max_pixels,
        "key_tokens": recipe.key_tokens,
        "complete_tokens": recipe.complete_tokens,
    }


def resolve_dtype(dtype: Literal["auto", "float32", "bfloat16", "float16"]) -> str:
    """The precision that a describer really runs in on this machine."""
    if dtype != "auto":
        return dtype
    import torch

    return "bfloat16" if torch.cuda.is_available() else "float32"
