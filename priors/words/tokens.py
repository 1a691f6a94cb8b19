"""Texts cut into the words that GloVe's corpora were cut into."""

from __future__ import annotations

import re
import unicodedata

TOKENIZER_VERSION = 2
"""Part of the fingerprint of embeddings; raised when the same text would be cut into other tokens."""

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufe0e\ufe0f\ufeff]")
_PLAIN_SIGNS = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})
_IN_WORD_HYPHEN = re.compile(r"(?<=[^\W_])[-‐‑–](?=[^\W_])")
_DASH = re.compile(r"[‒–—―]|-{2,}")
# Not after a digit ("3D") or a single letter ("iPhone"): those are words of their own.
_CAMEL = re.compile(r"(?<=[A-Za-z][a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TOKEN = re.compile(
    r"""\d+(?:[.,:]\d+)+          # numbers with separators: 3.5, 1,000, 12:30
      | (?:[^\W\d_]\.){2,}        # u.s., e.g., p.m.
      | (?<![^\W_])[dlo]'[^\W\d_]{3,}  # o'clock
      | [^\W\d_]+(?=n't\b)        # does|n't
      | n't\b
      | '(?:s|re|ve|ll|d|m)\b     # possessive and short forms
      | [^\W_]+                   # words, whole numbers, and both together: 2nd, 100m
      | \.{2,}
      | --
      | [^\w\s]                   # any other sign by itself
    """,
    re.VERBOSE,
)


def tokenize(text: str) -> list[str]:
    """Cut a text as GloVe's corpora were: lower case, signs, possessives and short forms apart.

    Words with hyphens and in camel case are cut into their parts: each part is a common word with a good vector, where
    the whole is a rare one, or unknown. Quotes, dashes and dots come in the spelling that GloVe's tables have.

    >>> tokenize("The athlete's run-up in HighKick isn't 3.5 m…")
    ['the', 'athlete', "'s", 'run', 'up', 'in', 'high', 'kick', 'is', "n't", '3.5', 'm', '...']
    """
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_PLAIN_SIGNS)
    plain = _DASH.sub(" -- ", _IN_WORD_HYPHEN.sub(" ", plain))
    tokens = _TOKEN.findall(_CAMEL.sub(" ", plain).lower())
    return ["..." if token.startswith("..") else token for token in tokens]
