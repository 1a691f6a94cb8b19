"""Answers of OpenAI-compatible servers: completions in every shape, messages in their place, streams, noise."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.mutations.json_values import changed, other_values, replaced, spelled, written
from benchmarks.fuzzing.mutations.noise import another, noise
from benchmarks.fuzzing.plain.plain_json import Unreadable
from benchmarks.fuzzing.trials import Input, Read
from cache.errors import UserError
from priors.answers.completion import NoCompletion, read_completion
from priors.answers.reasoning import without_reasoning
from priors.describers.protocol import Failure, reply_of

FILE = "body"
_MOST = 256
_TEXTS = (
    "A person dives.",
    "She runs; then she jumps.",
    "跳水运动员跳下。",
    "Café, naïve, 🤸.",
    "a < b and b > c",
    "I think so.",
    "The <b>bold</b> one.",
    "Line one\n\nline two",
)
_THOUGHTS = ("Hm.", "The user wants one sentence.\nI look at frame 1.", "Is a < b? ...", "想一想。")
_WRAPPED = (
    lambda text: text,
    lambda text: [{"type": "text", "text": text}],
    lambda text: {"type": "text", "text": text},
    lambda text: [{"type": "output_text", "text": text}],
    lambda text: [text],
    lambda text: {"parts": [{"text": text}]},
)
_THINKING = {
    "both tags": lambda text, thought: {"content": f"<think>\n{thought}\n</think>\n\n{text}"},
    "the end tag": lambda text, thought: {"content": f"{thought}\n</think>\n\n{text}"},
    "thinking": lambda text, thought: {"content": f"<thinking>{thought}</thinking>{text}"},
    "Magistral": lambda text, thought: {"content": f"[THINK]{thought}[/THINK]{text}"},
    "Kimi": lambda text, thought: {"content": f"◁think▷{thought}◁/think▷{text}"},
    "a field": lambda text, thought: {"content": text, "reasoning_content": thought},
    "another field": lambda text, thought: {"content": text, "reasoning": thought},
    "a part": lambda text, thought: {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": thought}]},
            {"type": "text", "text": text},
        ]
    },
    "a hidden part": lambda text, thought: {"content": [{"text": thought, "thought": True}, {"text": text}]},
}
_MESSAGES = {
    "error.message": lambda told: {"error": {"message": told, "code": 502}},
    "error": lambda told: {"error": told},
    "detail": lambda told: {"detail": told},
    "details": lambda told: {"detail": [{"loc": ["body", "model"], "msg": told}]},
    "message": lambda told: {"object": "error", "message": told, "code": 400},
    "a list": lambda told: [{"error": {"message": told}}],
    "choices null": lambda told: {"choices": None, "error": {"message": told}},
    "choices empty": lambda told: {"choices": [], "msg": told},
    "text": lambda told: told,
}
_TOLD = "model m does not support images"


def completion(message: Any, rng: random.Random, *, ending: Any = "stop") -> dict[str, Any]:
    """A body as servers send it."""
    usage = {"prompt_tokens": rng.randrange(1000), "completion_tokens": rng.randrange(100)}
    choice = {"index": 0, "message": message, "finish_reason": ending}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


class Answers:
    """See `Format`. The value of an answer: text, whether reasoning was cut off, counts of tokens, ending."""

    name = "answers"
    share = 12

    def draw(self, rng: random.Random) -> Input:
        """See `Format`."""
        text = rng.choice(_TEXTS)
        message = {"role": "assistant", "content": rng.choice(_WRAPPED)(text)}
        body = completion(message, rng)
        usage = (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"])
        same = (text, False, *usage, "eos")
        kind = rng.choice(
            ("spelled", "thinking", "thinking", "usage", "ending", "told", "odd", "odd", "noise", "another")
        )
        match kind:
            case "spelled":
                done, spelling = spelled(body, rng)
                data = spelling.encode(rng.choice(("utf-8", "utf-8-sig", "utf-16")))
                return Input(f"spelled: {done}", {FILE: data}, same=same)
            case "thinking":
                how = rng.choice(list(_THINKING))
                body["choices"][0]["message"] = {"role": "assistant", **_THINKING[how](text, rng.choice(_THOUGHTS))}
                return Input(f"reasoning: {how}", {FILE: _json(body)}, same=(text, True, *usage, "eos"))
            case "usage":
                return _usage(rng, body, text)
            case "ending":
                ending, read = rng.choice((("length", "length"), ("eos_token", "eos"), (None, None), ("STOP", "eos"),
                                           ({"type": "stop"}, "eos"), (7, None), ([], None), ("", None)))  # fmt: skip
                body["choices"][0]["finish_reason"] = ending
                return Input(f"ends with {ending!r}", {FILE: _json(body)}, same=(text, False, *usage, read))
            case "told":
                return _told(rng, text)
            case "odd":
                done, way, mutated = changed(body, rng)
                return Input(f"{done} at {'.'.join(map(str, way))}", {FILE: _json(mutated)})
            case _:
                done, data = (noise if kind == "noise" else another)(_json(body), rng)
                return Input(done, {FILE: data})

    def read(self, folder: Path) -> Read:
        """See `Format`: what the describer makes of a body."""
        try:
            said = read_completion((folder / FILE).read_bytes())
        except NoCompletion as none:
            raise Refused(str(none)) from none
        reply = reply_of(
            without_reasoning(said.text, apart=said.reasoning),
            prompt_tokens=said.prompt_tokens,
            new_tokens=said.new_tokens,
            finish_reason=said.finish_reason,
            most_tokens=_MOST,
        )
        if isinstance(reply, Failure):
            raise Refused(reply.reason)
        reply.text.encode()
        return Read((reply.text, reply.reasoning, reply.prompt_tokens, reply.new_tokens, reply.finish_reason))

    def plain(self, folder: Path) -> Any:
        """See `Format`."""
        return _plain((folder / FILE).read_bytes())


class Refused(UserError):
    """The reason of a failed row; `body` stands for the row that it is in."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"body: {reason}" if reason.strip() else "")


def _json(body: Any) -> bytes:
    return written(body).encode("utf-8", "surrogatepass")


def _usage(rng: random.Random, body: dict[str, Any], text: str) -> Input:
    """Counts that are none become unknown, and the text stays."""
    value = other_values(5, rng)
    while isinstance(value, str) and (value.startswith(("[[", "01")) or type(value).__name__ == "Raw"):
        value = other_values(5, rng)
    where = rng.choice((("usage",), ("usage", "prompt_tokens"), ("usage", "completion_tokens")))
    mutated = replaced(body, where, value)
    usage = mutated["usage"]
    counts = [
        _count(usage.get(name)) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")
    ]
    return Input(
        f"{'.'.join(where)} is {str(value)[:20]!r}", {FILE: _json(mutated)}, same=(text, False, *counts, "eos")
    )


def _told(rng: random.Random, text: str) -> Input:
    """No completion, but a message, a stream, a page; or an ending that means that there is none."""
    match rng.choice(("message", "message", "stream", "page", "filter", "refusal", "endless")):
        case "message":
            how = rng.choice(list(_MESSAGES))
            return Input(
                f"message: {how}", {FILE: json.dumps(_MESSAGES[how](_TOLD)).encode()}, unusable=True, told=(_TOLD,)
            )
        case "stream":
            chunk = json.dumps({"choices": [{"delta": {"content": text}}]})
            return Input(
                "a stream", {FILE: f"data: {chunk}\n\ndata: [DONE]\n\n".encode()}, unusable=True, told=("data:",)
            )
        case "page":
            page = f"<!DOCTYPE html><html><head><style>x</style></head><body><h1>502</h1>{_TOLD}</body></html>"
            return Input("a page", {FILE: page.encode()}, unusable=True, told=(_TOLD,))
        case "filter":
            body = completion({"content": text}, rng, ending=rng.choice(("content_filter", "error", "abort")))
            return Input("an ending that is none", {FILE: _json(body)}, unusable=True, told=("filter", "ended with"))
        case "refusal":
            body = completion({"content": rng.choice((None, text)), "refusal": _TOLD}, rng)
            return Input("a refusal", {FILE: _json(body)}, unusable=True, told=(_TOLD,))
        case _:
            body = completion({"content": f"<think>{rng.choice(_THOUGHTS)}"}, rng, ending="length")
            return Input("reasoning without end", {FILE: _json(body)}, unusable=True, told=("never ended",))


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**31 or value != int(value):
        return None
    return int(value)


def _plain(body: bytes) -> tuple:
    """Text and reasoning of a body by the rules for servers: the first choice, the parts of its content."""
    try:
        document: Any = json.loads(body.decode(json.detect_encoding(body), "replace"))
        first = document["choices"][0] if isinstance(document["choices"], list) else document["choices"]
        choice: Any = {"text": first} if isinstance(first, str) and first.strip() else first
        message = next(choice[name] for name in ("message", "delta", "text") if choice.get(name) not in (None, []))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, StopIteration, RecursionError) as error:
        raise Unreadable(f"no completion: {error}") from error
    texts: list[str] = []
    thoughts: list[str] = []
    _collect(message, texts, thoughts, hidden=False)
    text = "\n".join(texts)
    apart = "\n".join(thoughts)
    usage = document.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    ending = choice.get("finish_reason")
    ending = ending.get("type") if isinstance(ending, dict) else ending
    ending = ending.strip().lower() if isinstance(ending, str) and ending.strip() else None
    if ending is not None and ending not in ("stop", "length", "eos_token", "done", "eos"):
        raise Unreadable(f"ends with {ending!a}")
    thought = bool(apart.strip())
    for begin, end in (
        ("<think>", "</think>"),
        ("<thinking>", "</thinking>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
    ):
        if end in text:
            text, thought = text.rpartition(end)[2], True
        elif begin in text:
            raise Unreadable("reasoning without end")
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").strip()
    if thought and not text:
        raise Unreadable("reasoning alone")
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    return (text, thought, *map(_count, counts), {"length": "length", None: None}.get(ending, "eos"))


def _collect(value: Any, texts: list[str], thoughts: list[str], *, hidden: bool) -> None:
    if isinstance(value, str):
        (thoughts if hidden else texts).append(value)
    elif isinstance(value, list):
        for part in value:
            _collect(part, texts, thoughts, hidden=hidden)
    elif isinstance(value, dict):
        hidden = hidden or "think" in str(value.get("type")) or value.get("thought") is True
        for name in ("reasoning_content", "reasoning", "thinking"):
            if value.get(name) not in (None, "", [], True):
                _collect(value[name], texts, thoughts, hidden=True)
                break
        for name in ("content", "text", "output_text", "value", "parts"):
            if value.get(name) not in (None, "", []):
                if value[name] is not True:
                    _collect(value[name], texts, thoughts, hidden=hidden)
                break


FORMAT = Answers()
