"""What a chat completion says, in every shape that servers give it: text, reasoning, counts of tokens, ending."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cache.tables.schema import FinishReason
from priors.answers.server_message import decoded, message_of, said_in, shortened, whole

_TEXTS = ("content", "text", "output_text", "value", "parts")
"""Fields of a message, or of a part of one, that hold its text; the first that is there counts."""
_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks", "thought")
"""Those that hold reasoning; servers give the same under several names."""
_EOS = {"stop", "eos", "eos_token", "stop_sequence", "end_turn", "stop_token", "completed", "done"}
_LENGTH = {"length", "max_tokens", "max_output_tokens", "model_length", "max_length"}
_MOST = 2**31 - 1
_DEEP = 20


class NoCompletion(Exception):
    """There is no answer in what the server gave."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again
        """Another attempt may get one."""


@dataclass(frozen=True)
class Completion:
    """A chat completion."""

    text: str
    reasoning: str
    """What stood apart from the text: in a field or a part of its own."""
    prompt_tokens: int | None
    """None where the server does not say, or says no number."""
    new_tokens: int | None
    finish_reason: FinishReason | None
    """None where the server does not say."""


@dataclass
class _Said:
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def take(self, value: object, *, hidden: bool = False, depth: int = 0) -> None:
        """Whatever of the value is text: itself, parts of a list, telling fields."""
        if isinstance(value, str):
            (self.reasoning if hidden else self.texts).append(value)
        elif isinstance(value, list) and depth < _DEEP:
            for part in value:
                self.take(part, hidden=hidden, depth=depth + 1)
        elif isinstance(value, dict) and depth < _DEEP:
            kind = str(value.get("type", "")).lower()
            hidden = (
                hidden or any(sign in kind for sign in ("think", "reason", "thought")) or value.get("thought") is True
            )
            if value.get("refusal"):
                self.refusals.append(said_in(value["refusal"]))
            for names, is_hidden in ((_REASONING, True), (_TEXTS, hidden)):
                name = next((name for name in names if value.get(name) not in (None, "", [])), None)
                if name is not None and value[name] is not True:
                    self.take(value[name], hidden=is_hidden, depth=depth + 1)


def text_and_reasoning(content: object) -> tuple[str, str]:
    """The text of a message, or of its content, and the reasoning that stands apart in it; else empty."""
    said = _Said()
    said.take(content)
    return "\n".join(said.texts), "\n".join(said.reasoning)


def read_completion(body: bytes) -> Completion:
    """The completion in the body of an answer. Raises NoCompletion with what the server says instead."""
    try:
        document = json.loads(decoded(body))
    except (ValueError, RecursionError):
        raise NoCompletion(_no_completion(message_of(body)), again=True) from None
    if not isinstance(document, dict):
        raise NoCompletion(_no_completion(message_of(body)), again=True)
    choice = _first_choice(document.get("choices"))
    if choice is None:
        raise NoCompletion(_no_completion(message_of(body) + _code(document)), again=True)
    message = next((choice[name] for name in ("message", "delta", "text") if choice.get(name) not in (None, [])), None)
    said = _Said()
    said.take(message)
    ending = choice.get("finish_reason")
    finish_reason = _finish_reason(ending)
    if said.refusals:
        raise NoCompletion(shortened(f"the model refuses: {'; '.join(said.refusals)}"))
    if isinstance(finish_reason, NoCompletion):
        told = said_in(choice["error"]) if choice.get("error") else ""
        raise NoCompletion(shortened(f"{finish_reason}: {told}")) if told else finish_reason
    if message is None:
        raise NoCompletion(_no_completion(message_of(body)), again=True)
    if not (said.texts or said.reasoning or _is_empty(message)):
        raise NoCompletion(shortened(f"the answer holds no text: {json.dumps(message, ensure_ascii=False)}"))
    prompt_tokens, new_tokens = _counts(document.get("usage"))
    return Completion(
        whole("\n".join(said.texts)), whole("\n".join(said.reasoning)), prompt_tokens, new_tokens, finish_reason
    )


def _code(document: Mapping) -> str:
    """The number of an error that came with status 200."""
    error = document.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return f" (code {code})" if isinstance(code, int) else ""


def _no_completion(told: str) -> str:
    return f"the server's answer is no chat completion: {told}" if told else "the server's answer is empty"


def _first_choice(choices: object) -> Mapping | None:
    first = next(iter(choices), None) if isinstance(choices, list) else choices
    if isinstance(first, str) and first.strip():
        return {"text": first}
    return first if isinstance(first, dict) else None


def _is_empty(message: object) -> bool:
    """Whether a message is one, and says nothing: its content is there, and is null or holds no letter."""
    return isinstance(message, dict) and message.get("content") in (None, "", [])


def _finish_reason(said: object) -> FinishReason | NoCompletion | None:
    if isinstance(said, dict):  # SGLang's own form
        said = said.get("type")
    if not isinstance(said, str) or not said.strip():
        return None
    name = said.strip().lower()
    if name in _EOS:
        return "eos"
    if name in _LENGTH:
        return "length"
    if name == "content_filter":
        return NoCompletion("the server's content filter stopped the answer")
    return NoCompletion(f"the answer ended with {said[:50]!r}, expected 'stop' or 'length'")


def _counts(usage: object) -> tuple[int | None, int | None]:
    if not isinstance(usage, dict):
        return None, None
    prompt, new = (
        next((usage[name] for name in names if usage.get(name) is not None), None)
        for names in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
    )
    return _count(prompt), _count(new)


def _count(value: object) -> int | None:
    """A count of tokens, if it is one that can be."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MOST or value != int(value):
        return None
    return int(value)
