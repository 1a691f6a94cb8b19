"""Character spans of the action words in the text of a description."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def action_spans(text: str, tokens: Sequence[str], is_action_word: Sequence[bool]) -> list[tuple[int, int]]:
    """Start and end, in characters, of the words of a text that are action words.

    `tokens` are the words that the text was cut into, lower-case and in their order. Words that touch each other
    ("high" and "kick" of "HighKick") are one span. A token that is not found in the text is skipped.
    """
    # Normalised character by character, so that each maps back to a position in the text.
    plain = [unicodedata.normalize("NFKC", sign).lower() for sign in text.replace("’", "'")]
    places = [place for place, signs in enumerate(plain) for _ in signs]
    whole = "".join(plain)
    spans: list[tuple[int, int]] = []
    after = 0
    for token, marked in zip(tokens, is_action_word, strict=True):
        at = whole.find(token, after) if token else -1
        if at < 0:
            continue
        after = at + len(token)
        if not marked:
            continue
        start, end = places[at], places[after - 1] + 1
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans
