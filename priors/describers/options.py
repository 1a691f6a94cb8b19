"""Settings of a describer: generation of texts, and the server of a model that runs elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cache.recipe import RUN_ONLY, Recipe


class GenerationRecipe(Recipe):
    """How tokens are generated. Sampling settings in the checkpoint's own generation_config are ignored."""

    temperature: NonNegativeFloat = 0.0
    """0 = greedy; above, tokens are sampled, with random numbers that do not depend on the batch. A second run on the
    same machine gives the same texts, except for rounding: other batches or kernels may change a rare token in
    bfloat16."""
    top_p: PositiveFloat = 1.0
    """Nucleus sampling: sample from the most likely tokens with this total probability; 1 = from all tokens."""
    seed: NonNegativeInt = 0
    """Random seed of sampling."""
    beams: PositiveInt = 1
    """Width of the beam search; 1 = no beam search. More than 1 excludes a temperature above 0."""
    repetition_penalty: PositiveFloat = 1.0
    """Above 1, tokens that are already in the answer become less likely; 1 = off. The prompt does not count."""
    no_repeat_ngram: NonNegativeInt = 0
    """No n-gram of this size occurs twice in an answer; 0 = off."""


class ServerRecipe(Recipe):
    """An OpenAI-compatible server (vLLM, SGLang, hosted) to use instead of a model in this process."""

    url: str | None = None
    """Base URL, such as http://127.0.0.1:8000/v1; None runs the model in this process. Needs `pip install openai`."""
    key_variable: Annotated[str | None, RUN_ONLY] = None
    """Environment variable that holds the API key, such as OPENAI_API_KEY. The key itself is never written to disk."""
    per_minute: Annotated[PositiveInt | None, RUN_ONLY] = None
    """Rate limit in requests per minute; None = no limit."""
    parallel: Annotated[PositiveInt, RUN_ONLY] = 8
    """Concurrent requests; describer.batch_size should be a multiple of it."""
    attempts: Annotated[PositiveInt, RUN_ONLY] = 5
    """Attempts of a request when the server is busy (429), fails (5xx) or is too slow."""
    backoff_seconds: Annotated[PositiveFloat, RUN_ONLY] = 1.0
    """Wait before the second attempt; doubled for each further one, unless the server asks for another wait."""
    timeout_seconds: Annotated[PositiveFloat, RUN_ONLY] = 120.0
    """Timeout of one request."""
    jpeg_quality: PositiveInt = 90
    """JPEG quality of the frames that are sent, up to 95."""
    limit: Annotated[Literal["max_tokens", "max_completion_tokens"], RUN_ONLY] = "max_tokens"
    """Name of the token limit in the server's API; hosted reasoning models need the longer one."""
    say_times: bool = True
    """Write the timestamp of each frame before it, since a server gets pictures and not a video."""


class PicturesRecipe(Recipe):
    """How frames are sent to a server."""

    jpeg_quality: PositiveInt
    """JPEG quality of the frames that are sent."""
    say_times: bool
    """Whether the timestamp of each frame is written before it."""


class TextSettings(Recipe):
    """The settings of a describer that change a text, resolved for the model and machine."""

    key_tokens: PositiveInt
    """Largest number of new tokens of a key description."""
    complete_tokens: PositiveInt
    """Largest number of new tokens of a complete description."""
    generation: GenerationRecipe = GenerationRecipe()
    """How tokens are generated."""
    server: PicturesRecipe | None = None
    """How frames were sent to a server; None if the model ran in this process."""
    dtype: str | None = None
    """Precision of weights and arithmetic; None if a server decides it."""
    quantization: str | None = None
    """Quantization of the weights."""
    max_pixels: PositiveInt | None = None
    """Largest number of pixels of a frame."""
