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

from priors.answers.completion import NoCompletion, read_completion
from priors.answers.proxies import is_loopback, proxy_of, set_proxies
from priors.answers.reasoning import without_reasoning
from priors.answers.server_message import message_of, shortened
from priors.describers.control_tokens import looks_like_control
from priors.describers.pacing import Pace, Stopped, retry_after
from priors.describers.protocol import Failure, Prepared, Reply, Request, reply_of
from priors.describers.recipe import DescriberRecipe, describer_identity, refuse_conflicts
from priors.pretrained.model_files import ModelError
from priors.video.frames import Frames

_WHOLE_RUN = {
    401: "the key",
    403: "the key's rights",
    404: "the address or the name of the model",
    405: "the address",
    407: "the proxy",
}
"""Status codes that every request would get, and what to check."""
_BUSY = (408, 409, 425, 429)
_BROKEN_OFF = ("RemoteProtocolError", "ReadError", "WriteError", "CloseError", "DecodingError")
"""Errors of the HTTP client after it reached the server."""


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
        proxy = proxy_of(self._where)
        self._via = "" if proxy is None else f"; asked through the proxy {proxy}"
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
        host = urlsplit(self._where).hostname or ""
        pattern = f"all://[{host}]" if ":" in host else f"all://{host}"
        try:
            return openai.OpenAI(
                base_url=self.recipe.server.url,
                api_key=self._key or "none",
                timeout=self.recipe.server.timeout_seconds,
                max_retries=0,
                http_client=openai.DefaultHttpxClient(mounts={pattern: None} if is_loopback(self._where) else None),
            )
        except Exception as error:  # proxies and certificates that the environment names, and the client cannot use
            proxies = f"; the environment sets {set_proxies()}" if set_proxies() else ""
            raise ModelError(f"describer.server: no client can be made: {self._told(error)}{proxies}") from error

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
            except Exception as error:  # whatever one answer may bring about, the others are not to suffer from it
                return Failure(self._told(f"{type(error).__name__}: {error}"))
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
            answer = self._client.chat.completions.with_raw_response.create(
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
            cause = error.__cause__ or error
            if type(cause).__name__ in _BROKEN_OFF:
                raise _Again(f"the connection broke off: {self._told(cause)}{self._via}") from error
            raise _Again(f"cannot be reached: {self._told(cause)}{self._via}", whole_run=True) from error
        self._reached = True
        return self._read(self._without_key(answer.content), request)

    def _read(self, body: bytes, request: Request) -> Reply | Failure:
        try:
            said = read_completion(body)
        except NoCompletion as none:
            if none.again:
                raise _Again(f"{none}{self._via}") from none
            return Failure(str(none))
        return reply_of(
            without_reasoning(said.text, apart=said.reasoning),
            prompt_tokens=said.prompt_tokens,
            new_tokens=said.new_tokens,
            finish_reason=said.finish_reason,
            most_tokens=request.max_new_tokens,
        )

    def _refused(self, error: Any) -> Failure:
        status = error.status_code
        message = message_of(self._without_key(error.response.content)) or error.response.reason_phrase
        message = (message or "no reason given") + self._via
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

    def _told(self, error: object) -> str:
        """What an error says, without the key, whatever a server or a library may have put into its message."""
        return shortened(str(error).replace(self._key, "(key)") if self._key else str(error))

    def _without_key(self, body: bytes) -> bytes:
        return body.replace(self._key.encode(), b"(key)") if self._key else body


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
