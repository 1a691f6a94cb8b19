"""Control tokens of chat templates in prompts, which hold class names from untrusted annotation files."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_FRAMED = ("<", "[", "{", "|")
_FORMS = ("NFC", "NFD", "NFKC", "NFKD")


_LOOKS = re.compile(
    r"<\|[^<>]*\|>"  # ChatML and its like
    r"|</?(s|unk|pad|bos|eos|img|image|video|audio|think|tool_call|IMG_CONTEXT|start_of_turn|end_of_turn)>"
    r"|<(start|end)_of_\w+>|<fake_token_around_image>|<global-img>"
    r"|\[/?(INST|SYS|IMG|VIDEO)\]|<</?SYS>>",
    re.IGNORECASE,
)


def looks_like_control(prompt: str) -> str | None:
    """Why a prompt must not be sent to a model whose tokenizer is not available, or None."""
    if why := _control_character(prompt):
        return why
    for form in ("NFC", "NFKC"):
        if found := _LOOKS.search(unicodedata.normalize(form, prompt)):
            return f"the prompt holds {found[0]!r}, which looks like a control token of a chat; rename the class"
    return None


class ControlTokens:
    """Finds what a processor would read in a prompt as control tokens of the chat, not as words.

    These are the special tokens, other added tokens that look like markup, and placeholders of pictures and videos;
    each in its own spelling and as normalized by the tokenizer.
    """

    def __init__(self, processor: Any, model_id: str) -> None:
        self._tokenizer = processor.tokenizer
        self._model_id = model_id
        added = self._tokenizer.added_tokens_decoder
        marks = {index: token for index, token in added.items() if token.special or token.content.startswith(_FRAMED)}
        # The unknown token is no control token; written out in a prompt, it is refused like the others.
        self._ids = {*marks, *self._tokenizer.all_special_ids} - {self._tokenizer.unk_token_id}
        named = [getattr(processor, f"{name}_token", None) for name in ("image", "video", "audio")]
        texts = {*(token.content for token in marks.values()), *self._tokenizer.all_special_tokens, *named}
        self._texts = sorted(text for text in texts if isinstance(text, str) and text.strip())

    def found_in(self, prompt: str) -> str | None:
        """Why this prompt cannot be used, or None."""
        if why := _control_character(prompt):
            return why
        forms = [prompt, *(unicodedata.normalize(form, prompt) for form in _FORMS)]
        for text in self._texts:
            if any(text in form for form in forms):
                return f"the prompt holds {text!r}, a control token of {self._model_id}; rename the class"
        for index in self._tokenizer(prompt, add_special_tokens=False)["input_ids"]:
            if index in self._ids:
                text = self._tokenizer.convert_ids_to_tokens(index)
                return f"the prompt holds {text!r}, a control token of {self._model_id}; rename the class"
        return None


def _control_character(prompt: str) -> str | None:
    for sign in prompt:
        if unicodedata.category(sign) in ("Cc", "Cs"):
            return f"the prompt holds the control character {sign!r}; rename the class"
    return None
