"""Embeddings: descriptions to tokens and word vectors in Parquet, made without the captioning model."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cache.descriptions.class_texts import TEMPLATE, class_words
from cache.files.atomic import atomic_path
from cache.recipe import Recipe
from cache.tables.embeddings import INLINE_TABLE, TOKENS_TABLE, VOCABULARY_TABLE, InlineRow, inline_schema
from cache.tables.schema import DESCRIPTION_KEY, TOKENS, VOCABULARY_KEY, TokenRow, vocabulary_schema
from cache.tables.store import PartStore
from priors.words.action_words import ACTION_WORDS_VERSION, is_action_word
from priors.words.glove import UnknownWords, WordVectors
from priors.words.tokens import TOKENIZER_VERSION, tokenize
from priors.words.words_in_use import WordsInUse

WORDS_FILE = "word_vectors.json"
"""Beside the tables: the file of word vectors, how many words of how many numbers it has, and what was odd about it."""

OnEmbedded = Callable[[int, int], None]
"""Called with the number of descriptions processed so far and the total."""

_ROWS, _TOKENS = 1024, 65_536  # limits of one Parquet file: descriptions and words (or a single description)
_COUNTED_WORDS = 100_000  # distinct unknown words that are counted; beyond that the rarest are dropped


class EmbeddingRecipe(Recipe):
    """All settings that change the embeddings."""

    descriptions: str
    """Fingerprint of the descriptions."""
    word_vectors: str
    """Name of the word vector file."""
    word_vectors_sha256: str
    width: int
    """Dimension of a vector."""
    unknown: UnknownWords
    """How words without a vector are treated."""
    tokenizer_version: int
    action_words_version: int


class EmbedOptions(Recipe):
    """What is written in addition to the two tables that training reads."""

    inline: bool = False
    """Write a third table that holds the vector of every word inline, so that one table suffices. Seventy times larger:
    about 1.2 KB per word in float32."""
    inline_dtype: Literal["float32", "float16"] = "float32"
    """Number format of the inline table."""


@dataclass(frozen=True)
class EmbedSummary:
    """Result of a run, and the coverage of the word vectors."""

    word_vectors: str
    """The file, the words and numbers found in it, and what was odd about it."""
    folder: Path
    """Folder of the tables."""
    embedded: int
    skipped: int
    """Descriptions that already had rows."""
    retired: int
    """Rows marked as deleted, because their description no longer exists or has failed."""
    tokens: int
    """Number of tokens in all descriptions, skipped ones included."""
    unknown: int
    """Number of tokens without a word vector."""
    most_unknown: tuple[tuple[str, int], ...]
    """The most frequent unknown words, with their counts."""


def embed(
    descriptions: PartStore,
    vectors: WordVectors,
    root: Path,
    *,
    videos: Container[str] | None = None,
    options: EmbedOptions | None = None,
    on_progress: OnEmbedded | None = None,
) -> EmbedSummary:
    """Tokenize every ok description, and write `<root>/<fingerprint>/{tokens,vocabulary}`, and `inline` if asked for.

    The vocabulary holds the words of the texts, of their class names and of the template around a name. Existing rows
    for the same text are kept, so a second run writes nothing. A row is marked as deleted by an empty row if its
    description no longer exists, failed when it was regenerated, or is of none of `videos` (all if not given). Waits if
    another run embeds the same descriptions. Memory grows by 16 bytes per description. Raises CacheError if a file
    cannot be read.
    """
    recipe = EmbeddingRecipe(
        descriptions=descriptions.home.name,
        word_vectors=vectors.name,
        word_vectors_sha256=vectors.sha256,
        width=vectors.width,
        unknown=vectors.unknown,
        tokenizer_version=TOKENIZER_VERSION,
        action_words_version=ACTION_WORDS_VERSION,
    )
    options = options or EmbedOptions()
    tokens = PartStore.create(root, recipe, TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE)
    with tokens.lock(wait=True):
        schema = vocabulary_schema(vectors.width)
        words = WordsInUse(PartStore.create(root, recipe, schema, key=VOCABULARY_KEY, table=VOCABULARY_TABLE), vectors)
        targets = [_Target(tokens, lambda row: row)]
        if options.inline:
            schema = inline_schema(vectors.width, options.inline_dtype)
            inline = PartStore.create(root, recipe, schema, key=DESCRIPTION_KEY, table=INLINE_TABLE)
            targets.append(_Target(inline, partial(_inline_row, words, np.dtype(options.inline_dtype))))
        embedded, total, retired = _bring_up_to_date(descriptions, videos, targets, words, on_progress)
        count, unknown, most = _count(tokens)
        _record(tokens.home / WORDS_FILE, vectors)
    return EmbedSummary(vectors.told, tokens.home, embedded, total - embedded, retired, count, unknown, most)


def _record(path: Path, vectors: WordVectors) -> None:
    """Keep beside the tables what was found in the file of word vectors."""
    found = {"file": vectors.name, "sha256": vectors.sha256, "words": len(vectors), "width": vectors.width}
    text = json.dumps({**found, "odd": vectors.odd}, indent=2, ensure_ascii=False) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_path(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


class _Digests:
    """A set of 64-bit hashes, 8 bytes each."""

    def __init__(self, values: Iterable[int]) -> None:
        self._sorted = np.sort(np.array(array("Q", values), np.uint64))

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, value: int) -> bool:
        place = int(np.searchsorted(self._sorted, np.uint64(value)))
        return place < len(self._sorted) and int(self._sorted[place]) == value


def _digest(row: dict[str, Any], sha256: str = "") -> int:
    text = "\0".join([*(row[name] for name in DESCRIPTION_KEY), sha256])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


class _Target:
    """A table that gets a row for each description."""

    def __init__(self, store: PartStore, make: Callable[[TokenRow], Any]) -> None:
        self._store, self._make = store, make
        self._columns = [*DESCRIPTION_KEY, "description_sha256"]
        self._done = _Digests(_digest(row, row["description_sha256"]) for row in store.rows(self._columns))

    def lacks(self, row: dict[str, Any], sha256: str) -> bool:
        """Whether the table has no row of this key for this text."""
        return _digest(row, sha256) not in self._done

    def append(self, rows: list[TokenRow]) -> None:
        """Write those of the rows that the table lacks."""
        if new := [self._make(row) for row in rows if self.lacks(vars(row), row.description_sha256)]:
            self._store.append(new)

    def retire(self, current: _Digests) -> int:
        """Mark rows whose key is not in `current` as deleted, by empty rows; returns how many."""
        rows = self._store.rows(self._columns)
        stale = [row for row in rows if row["description_sha256"] and _digest(row) not in current]
        for start in range(0, len(stale), _ROWS):
            self._store.append([self._make(_empty_row(row)) for row in stale[start : start + _ROWS]])
        return len(stale)


def _bring_up_to_date(
    descriptions: PartStore,
    videos: Container[str] | None,
    targets: list[_Target],
    words: WordsInUse,
    on_progress: OnEmbedded | None,
) -> tuple[int, int, int]:
    """Returns the number of descriptions embedded, of all descriptions, and of rows marked as deleted."""
    classes: set[str] = set()
    # Read once, so that exactly the embedded texts are current: other shards may add texts at any time.
    current = array("Q")
    total = sum(_counts(row, videos) for row in descriptions.rows(["video_id", "status"]))
    embedded = 0
    batch: list[TokenRow] = []
    for row in _ok_rows(descriptions, videos):
        current.append(_digest(row))
        classes.add(row["action_class"])
        sha256 = hashlib.sha256(row["description"].encode()).hexdigest()
        if any(target.lacks(row, sha256) for target in targets):
            batch.append(_token_row(row, sha256, words))
            embedded += targets[0].lacks(row, sha256)
        if len(batch) == _ROWS or sum(len(row.tokens) for row in batch) >= _TOKENS:
            _write(batch, targets, words)
            batch = []
        if on_progress is not None and (len(current) % _ROWS == 0 or len(current) == total):
            on_progress(len(current), max(total, len(current)))
    for label in sorted(classes):  # training may use class names instead of descriptions
        words.ids([*TEMPLATE, *class_words(label)])
    _write(batch, targets, words)
    existing = _Digests(current)
    retired = [target.retire(existing) for target in targets]
    return embedded, len(current), retired[0]


def _ok_rows(descriptions: PartStore, videos: Container[str] | None) -> Iterator[dict[str, Any]]:
    """Key and text of the ok descriptions of `videos`."""
    for row in descriptions.rows([*DESCRIPTION_KEY, "description", "status"]):
        if _counts(row, videos):
            yield row


def _counts(row: dict[str, Any], videos: Container[str] | None) -> bool:
    return row["status"] == "ok" and (videos is None or row["video_id"] in videos)


def _write(batch: list[TokenRow], targets: list[_Target], words: WordsInUse) -> None:
    words.flush()  # first, so that no row ever lacks its vectors
    for target in targets:
        target.append(batch)


def _token_row(row: dict[str, Any], sha256: str, words: WordsInUse) -> TokenRow:
    tokens = tokenize(row["description"])
    ids = words.ids(tokens).tolist()
    return TokenRow(
        **{name: row[name] for name in DESCRIPTION_KEY},
        description_sha256=sha256,
        tokens=tuple(tokens),
        token_ids=tuple(ids),
        known=tuple(token_id >= 0 for token_id in ids),
        is_action_word=tuple(is_action_word(tokens, row["action_class"])),
    )


def _empty_row(row: dict[str, Any]) -> TokenRow:
    key = {name: row[name] for name in DESCRIPTION_KEY}
    return TokenRow(**key, description_sha256="", tokens=(), token_ids=(), known=(), is_action_word=())


def _inline_row(words: WordsInUse, dtype: np.dtype, row: TokenRow) -> InlineRow:
    shared = {field.name: getattr(row, field.name) for field in fields(row) if field.name != "token_ids"}
    return InlineRow(**shared, vectors=words.in_place(row.tokens, row.token_ids, dtype))


def _count(tokens: PartStore) -> tuple[int, int, tuple[tuple[str, int], ...]]:
    """Number of tokens, of unknown ones, and the most frequent unknown words."""
    total = missing = 0
    unknown: Counter[str] = Counter()
    for row in tokens.rows(["tokens", "known"]):
        total += len(row["known"])
        if not all(row["known"]):
            words = [word for word, known in zip(row["tokens"], row["known"], strict=True) if not known]
            missing += len(words)
            unknown.update(words)
            if len(unknown) > 2 * _COUNTED_WORDS:
                unknown = Counter(dict(unknown.most_common(_COUNTED_WORDS)))
    return total, missing, tuple(unknown.most_common(10))
