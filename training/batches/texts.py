"""Texts for training: the texts of every class and video, and how likely each of their words is to be masked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64

from cache.annotations import VideoEntry
from cache.descriptions.class_texts import TEMPLATE, class_words
from cache.descriptions.function_words import FUNCTION_WORDS
from cache.tables.embeddings import PriorTexts
from cache.tables.schema import Kind
from training.batches.vocabulary import Vocabulary
from training.errors import TrainingError

QuerySource = Literal["class_pool", "class_name", "template"]
SentenceSource = Literal["complete", "class_name", "template"]
MaskPolicy = Literal["action_words", "content_words", "uniform"]

STOP_WORDS = FUNCTION_WORDS | {
    "again", "another", "more", "most", "one", "other", "own", "same", "such", "video", "why",
}  # fmt: skip
"""Not discriminative for an action, so they are masked less often."""

# Relative weights of action words, content words and stop words in drawing masks; public code uses 2 for content words.
MASK_WEIGHTS: dict[MaskPolicy, tuple[float, float, float]] = {
    "action_words": (8.0, 2.0, 1.0),
    "content_words": (2.0, 2.0, 1.0),
    "uniform": (1.0, 1.0, 1.0),
}


@dataclass(frozen=True)
class TextChoice:
    """Which texts are used in training. A class's name and a template need word vectors, but no MLLM."""

    queries: QuerySource = "class_pool"
    """Text that represents a class (`KsmRecipe.queries`)."""
    sentences: SentenceSource = "complete"
    """Text that is masked and reconstructed (`CsrRecipe.texts`)."""
    mask: MaskPolicy = "action_words"
    """Which words are masked more often (`CsrRecipe.mask`)."""

    @property
    def names_classes(self) -> bool:
        """Whether any text is made from a class's name."""
        return self.queries != "class_pool" or self.sentences != "complete"


DEFAULT_CHOICE = TextChoice()


@dataclass(frozen=True)
class Words:
    """The words of one text."""

    tokens: tuple[str, ...]
    is_action_word: Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class TextBank:
    """Every text of the training videos as padded ids, and the rows of each class and video.

    Axes: r texts (row 0 is empty, for videos without a text), n words.
    """

    vocabulary: Vocabulary
    ids: Int64[np.ndarray, "r n"]
    lengths: Int64[np.ndarray, " r"]
    weights: Float32[np.ndarray, "r n"]
    """Mask weight of each word; 0 at padding."""
    key_rows: tuple[Int64[np.ndarray, " _"], ...]
    """Per class, the rows of its pool: a key description of each of its videos, or its name as often."""
    complete_rows: dict[str, Int64[np.ndarray, " _"]]
    """Per video, the rows of its complete descriptions, or of its classes' names."""


def _words(
    video_id: str, label: str, kind: Kind, texts: PriorTexts, source: QuerySource | SentenceSource
) -> Words | None:
    match source:
        case "class_pool" | "complete":
            row = texts.rows.get((video_id, label, kind))
            return None if row is None or not row.tokens else Words(tuple(row.tokens), np.asarray(row.is_action_word))
        case "class_name":
            words = class_words(label)
            return Words(words, np.ones(len(words), bool))
        case "template":
            words = class_words(label)
            return Words(TEMPLATE + words, np.arange(len(TEMPLATE) + len(words)) >= len(TEMPLATE))


def build_text_bank(
    videos: Sequence[VideoEntry],
    classes: Sequence[str],
    texts: PriorTexts,
    *,
    choice: TextChoice,
    max_words: int,
) -> TextBank:
    """Collect the chosen texts of `videos`, truncate them to `max_words` words and fit the vocabulary on them.

    Raises `TrainingError` when a class has no key description, no video has a complete one, or a class name that is
    used has no word with a vector.
    """
    sources: dict[Kind, QuerySource | SentenceSource] = {"key": choice.queries, "complete": choice.sentences}
    bank: list[Words] = [Words((), np.zeros(0, bool))]

    def add(video: VideoEntry, label: str, kind: Kind) -> list[int]:
        words = _words(video.video_id, label, kind, texts, sources[kind])
        if words is None:
            return []
        bank.append(Words(words.tokens[:max_words], words.is_action_word[:max_words]))
        return [len(bank) - 1]

    key: dict[str, list[int]] = {label: [] for label in classes}
    complete: dict[str, list[int]] = {}
    for video in videos:
        for label in video.labels:
            key[label] += add(video, label, "key")
        complete[video.video_id] = [row for label in video.labels for row in add(video, label, "complete")]
    _refuse_gaps(key, complete)
    vocabulary = Vocabulary.fit([words.tokens for words in bank], texts)
    if choice.names_classes:
        _refuse_unknown_names(classes, vocabulary)
    ids, weights = _pad(bank, vocabulary, MASK_WEIGHTS[choice.mask])
    return TextBank(
        vocabulary=vocabulary,
        ids=ids,
        lengths=np.array([len(words.tokens) for words in bank], np.int64),
        weights=weights,
        key_rows=tuple(np.array(key[label], np.int64) for label in classes),
        complete_rows={video: np.array(rows, np.int64) for video, rows in complete.items()},
    )


def _refuse_gaps(key: Mapping[str, Sequence[int]], complete: Mapping[str, Sequence[int]]) -> None:
    without = [label for label, rows in key.items() if not rows]
    if not without and any(complete.values()):
        return
    found = f"no key description for {', '.join(without)}" if without else "no complete description at all"
    option = "--model.ksm.queries" if without else "--model.csr.texts"
    raise TrainingError(
        f"descriptions of the training videos: found {found}, expected at least one for each of the {len(key)} "
        f"classes; run `make priors` until no failure remains, or train with {option} class_name"
    )


def _refuse_unknown_names(classes: Sequence[str], vocabulary: Vocabulary) -> None:
    # the rows of the special ids are zero, too
    nameless = [label for label in classes if not vocabulary.vectors[vocabulary.encode(class_words(label))].any()]
    if nameless:
        raise TrainingError(
            f"class names: found no word with a vector in {', '.join(nameless)}, expected at least one in each; run "
            "`make priors` to store the vectors of the names, or train on descriptions (--model.ksm.queries class_pool "
            "--model.csr.texts complete)"
        )


def _pad(
    texts: Sequence[Words], vocabulary: Vocabulary, weights: tuple[float, float, float]
) -> tuple[Int64[np.ndarray, "r n"], Float32[np.ndarray, "r n"]]:
    action, content, stop = weights
    longest = max(len(words.tokens) for words in texts)
    ids = np.zeros((len(texts), longest), np.int64)
    padded = np.zeros((len(texts), longest), np.float32)
    for row, words in enumerate(texts):
        count = len(words.tokens)
        ids[row, :count] = vocabulary.encode(words.tokens)
        is_stop = np.array([word in STOP_WORDS or not word[:1].isalnum() for word in words.tokens], bool)
        padded[row, :count] = np.where(words.is_action_word, action, np.where(is_stop, stop, content))
    return ids, padded


def draw_masked(
    weights: Float32[np.ndarray, "b n"], lengths: Int64[np.ndarray, " b"], rng: np.random.Generator
) -> Bool[np.ndarray, "b n"]:
    """A third of the words of each text, floor(n / 3) but at least one, drawn one after the other without replacement.

    Each draw picks a word with probability proportional to its weight among those left; the order of exponential
    variables with the weights as rates has this distribution. A text without words gets none.
    """
    clocks = rng.exponential(size=weights.shape) / np.where(weights > 0, weights, 1)
    clocks[weights == 0] = np.inf
    rank = clocks.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    count = np.where(lengths > 0, np.maximum(lengths // 3, 1), 0)
    return rank < count[:, None]
