"""OpenAIDescriber: a model behind an OpenAI-compatible server (vLLM, SGLang, hosted), shown the frames as pictures."""

from __future__ import annotations

import base64
import io
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from priors.describers.control_tokens import looks_like_control
from priors.describers.pacing import Pace, Stopped, retry_after
from priors.describers.protocol import Failure, Prepared, Reply, Request
from priors.describers.recipe import DescriberRecipe, describer_identity, refuse_conflicts
from priors.pretrained.model_files import ModelError
from priors.video.frames import Frames

_WHOLE_RUN = {401: "the key", 403: "the key's rights", 404: "the address or the name of the model", 405: "the address"}
"""Status codes that every request would get, and what to check."""
_BUSY = (408, 409, 425, 429)


@dataclass(eq=False)
class _Again(Exception):
    """An error after which the request is retried."""

    reason: str
    wait: float | None = None
    """Seconds that the server asks for."""
    whole_run: bool = False
    """Whether every other request would fail in the same way."""


class OpenAIDescriber:
    """Asks `describer.server` for every text, several requests at a time.

    A request that the server refuses becomes a Failure and does not affect others. What would affect every request (no
    such model, wrong key, server down) is a ModelError; answers of the same batch that came before it are returned
    first, and it is raised by the next call. The key is read from the environment, and is never part of a message.
    """

    def __init__(self, recipe: DescriberRecipe) -> None:
        refuse_conflicts(recipe)
        self.model_id, self.model_revision = describer_identity(recipe)
        self.recipe = recipe
        self._key = _key(recipe)
        self._where = _address(recipe.server.url)
        self._client = self._connect()
        self._pace = Pace(recipe.server.per_minute)
        self._stop = threading.Event()
        self._reached = False
        self._broken: ModelError | None = None

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Encode the frames and build the messages. A prompt that seems to hold a control token becomes a Failure."""
        seen: dict[int, list[str]] = {}
        inputs = []
        for request in requests:
            if why := looks_like_control(request.prompt):
                inputs.append(Failure(why))
                continue
            if id(request.frames) not in seen:  # all requests about a video have the same pictures
                seen[id(request.frames)] = _pictures(request.frames, self.recipe.server.jpeg_quality)
            inputs.append(self._message(request, seen[id(request.frames)]))
        return Prepared(tuple(requests), inputs)

    def describe(self, prepared: Prepared) -> list[Reply | Failure]:
        """Ask the server, with `parallel` requests at a time."""
        if self._broken is not None:
            raise self._broken
        pool = ThreadPoolExecutor(self.recipe.server.parallel, thread_name_prefix="ask")
        try:
            answers = list(pool.map(self._answer, prepared.requests, prepared.inputs))
        finally:
            self._stop.set()  # matters only after an interrupt: no thread waits for another attempt then
            pool.shutdown(cancel_futures=True)
            self._stop.clear()
        if self._broken is not None and not any(isinstance(answer, Reply) for answer in answers):
            raise self._broken
        return answers

    def _connect(self) -> Any:
        try:
            import openai
        except ImportError as error:
            raise ModelError("describer.server: needs the package openai; run `pip install openai`") from error
        self._headers = {} if self._key else {"Authorization": openai.Omit()}
        return openai.OpenAI(
            base_url=self.recipe.server.url,
            api_key=self._key or "none",
            timeout=self.recipe.server.timeout_seconds,
            max_retries=0,
        )

    def _message(self, request: Request, pictures: list[str]) -> list[dict[str, Any]]:
        images = [{"type": "image_url", "image_url": {"url": picture}} for picture in pictures]
        if not self.recipe.server.say_times:
            return [*images, {"type": "text", "text": request.prompt}]
        frames = request.frames
        count = f"{len(pictures)} frames of one video of {frames.duration:.1f} seconds, in order."
        parts: list[dict[str, Any]] = [{"type": "text", "text": count}]
        for second, image in zip(frames.seconds.tolist(), images, strict=True):
            parts += [{"type": "text", "text": f"At {second:.1f} seconds:"}, image]
        return [*parts, {"type": "text", "text": request.prompt}]

    def _answer(self, request: Request, message: list[dict[str, Any]] | Failure) -> Reply | Failure:
        if isinstance(message, Failure):
            return message
        server, wait = self.recipe.server, self.recipe.server.backoff_seconds
        for attempt in range(1, server.attempts + 1):
            if self._broken is not None:
                return Failure(str(self._broken))
            try:
                self._pace.turn(self._stop)
                return self._ask(request, message)
            except _Again as again:
                if attempt == server.attempts or (again.whole_run and not self._reached):
                    return self._give_up(again, attempt)
                self._pace.hold(
                    again.wait if again.wait is not None else wait, self._stop, everyone=again.wait is not None
                )
                wait *= 2
            except ModelError as error:
                self._broken = error
                return Failure(str(error))
            except Stopped:
                break
        return Failure("interrupted")

    def _give_up(self, again: _Again, attempts: int) -> Failure:
        if again.whole_run:
            self._broken = ModelError(f"describer.server.url: {self._where}: {again.reason}")
        return Failure(f"{again.reason} ({attempts} {'attempt' if attempts == 1 else 'attempts'})")

    def _ask(self, request: Request, message: list[dict[str, Any]]) -> Reply | Failure:
        import openai

        settings = self.recipe.retry if request.again else self.recipe.generation
        penalty = settings.repetition_penalty
        try:
            answer = self._client.chat.completions.create(
                model=self.recipe.model,
                messages=[{"role": "user", "content": message}],
                temperature=settings.temperature,
                top_p=settings.top_p,
                seed=settings.seed,
                extra_headers=self._headers,
                extra_body={
                    self.recipe.server.limit: request.max_new_tokens,
                    **({"repetition_penalty": penalty} if penalty != 1 else {}),
                },
            )
        except openai.APIStatusError as error:
            return self._refused(error)
        except openai.APITimeoutError as error:
            raise _Again(f"no answer within {self.recipe.server.timeout_seconds:g} s") from error
        except openai.APIConnectionError as error:
            raise _Again(f"cannot be reached: {self._without_key(error.__cause__ or error)}", whole_run=True) from error
        except (openai.OpenAIError, ValueError) as error:  # ValueError: no JSON
            raise _Again(f"the server's answer cannot be read: {self._without_key(error)}") from error
        self._reached = True
        return _reply(answer)

    def _refused(self, error: Any) -> Failure:
        status = error.status_code
        message = self._without_key(error).removeprefix(f"Error code: {status} - ")
        if status in _WHOLE_RUN:
            raise ModelError(
                f"describer.server: {self._where} answers {status} for model {self.recipe.model!r}; look at "
                f"{_WHOLE_RUN[status]}: {message}"
            ) from None
        if getattr(error, "code", None) == "insufficient_quota":
            raise ModelError(f"describer.server: {self._where}: the quota is used up: {message}") from None
        if status in _BUSY or status >= 500:
            raise _Again(f"the server answers {status}: {message}", retry_after(error.response.headers)) from None
        self._reached = True
        return Failure(f"the server answers {status}: {message}")

    def _without_key(self, error: object) -> str:
        """The message of an error, with the key removed, in case a server or a library put it there."""
        text = " ".join(str(error).split())
        return (text.replace(self._key, "(key)") if self._key else text)[:300]


def _reply(answer: Any) -> Reply | Failure:
    """The reply in a chat completion. Raises _Again for anything else."""
    choices, usage = getattr(answer, "choices", None), getattr(answer, "usage", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise _Again(f"the server's answer is no chat completion: {str(answer)[:100]!r}")
    message, reason = choices[0].message, choices[0].finish_reason
    if getattr(message, "refusal", None):
        return Failure(f"the model refuses: {message.refusal}"[:300])
    if reason == "content_filter":
        return Failure("the server's content filter stopped the answer")
    if reason not in ("stop", "length"):
        return Failure(f"the answer ended with {reason!r}, expected 'stop' or 'length'")
    if usage is None:
        return Failure("the server does not say how many tokens it used; turn its usage statistics on")
    ended = "eos" if reason == "stop" else "length"
    return Reply((message.content or "").strip(), usage.prompt_tokens, usage.completion_tokens, ended)


def _key(recipe: DescriberRecipe) -> str | None:
    name = recipe.server.key_variable
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise ModelError(f"describer.server.key_variable: the environment variable {name} is not set")
    return key


def _address(url: str | None) -> str:
    """The address without a query, for messages. Raises ModelError if it is no address, or holds a password."""
    parts = urlsplit(url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelError("describer.server.url: expected an address such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ModelError("describer.server.url: holds a user or password; put a key in an environment variable instead")
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _pictures(frames: Frames, quality: int) -> list[str]:
    from PIL import Image

    pictures = []
    for rgb in frames.rgb:
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "JPEG", quality=quality)
        pictures.append("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"))
    return pictures
