"""How a describer writes its texts, and where a describer behind a server is found."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cache.recipe import RUN_ONLY, Recipe


class GenerationRecipe(Recipe):
    """How the next token is chosen. What a checkpoint's own generation_config says of it does not count."""

    temperature: NonNegativeFloat = 0.0
    """0 is greedy; above, tokens are drawn, by random numbers that do not depend on the batch. So a second run on the
    same machine writes the same texts, but for rounding: other batches or kernels may tip a rare token in bfloat16."""
    top_p: PositiveFloat = 1.0
    """Draw from the most likely tokens that together have this probability; 1 is all of them."""
    seed: NonNegativeInt = 0
    """Of what is drawn."""
    beams: PositiveInt = 1
    """Width of the beam search; 1 is none. More than 1 cannot be drawn from."""
    repetition_penalty: PositiveFloat = 1.0
    """Above 1, tokens that the answer holds already become less likely; 1 is off. The prompt does not count."""
    no_repeat_ngram: NonNegativeInt = 0
    """No run of this many tokens comes twice in an answer; 0 is off."""


class ServerRecipe(Recipe):
    """An OpenAI-compatible server (vLLM, SGLang, hosted) that answers in place of a model in this process."""

    url: str | None = None
    """Base address, such as http://127.0.0.1:8000/v1; None runs the model here. Needs `pip install openai`."""
    key_variable: Annotated[str | None, RUN_ONLY] = None
    """Environment variable that holds the key, such as OPENAI_API_KEY. The key itself is written nowhere."""
    per_minute: Annotated[PositiveInt | None, RUN_ONLY] = None
    """Most requests a minute; None does not hold back."""
    parallel: Annotated[PositiveInt, RUN_ONLY] = 8
    """Requests under way at once; describer.batch_size should be a multiple of it."""
    attempts: Annotated[PositiveInt, RUN_ONLY] = 5
    """How often a request is sent to a server that is busy (429), at fault (5xx) or too slow, until it has failed."""
    backoff_seconds: Annotated[PositiveFloat, RUN_ONLY] = 1.0
    """Wait before the second attempt; doubled for each further one, unless the server says how long."""
    timeout_seconds: Annotated[PositiveFloat, RUN_ONLY] = 120.0
    """Longest wait for one answer."""
    jpeg_quality: PositiveInt = 90
    """Quality of the frames that are sent, up to 95."""
    limit: Annotated[Literal["max_tokens", "max_completion_tokens"], RUN_ONLY] = "max_tokens"
    """What the server calls the most new tokens; hosted reasoning models want the longer name."""
    say_times: bool = True
    """Write the time of each frame before it, since a server is shown pictures and not a video."""


class PicturesRecipe(Recipe):
    """How frames are shown to a describer behind a server."""

    jpeg_quality: PositiveInt
    """Quality of the frames that are sent."""
    say_times: bool
    """Whether the time of each frame stands before it."""


class TextSettings(Recipe):
    """The choices of a describer that change a text, as they are once the model is known."""

    key_tokens: PositiveInt
    """Most new tokens of a key description."""
    complete_tokens: PositiveInt
    """Most new tokens of a complete description."""
    generation: GenerationRecipe = GenerationRecipe()
    """How texts are written."""
    server: PicturesRecipe | None = None
    """How a server was shown the frames; None where the model ran here."""
    dtype: str | None = None
    """Precision of weights and arithmetic; None is the server's own."""
    quantization: str | None = None
    """Smaller weights."""
    max_pixels: PositiveInt | None = None
    """Most pixels of a frame."""
