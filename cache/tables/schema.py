"""The rows of the cache as dataclasses, and their Arrow schemas."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from cache.errors import CacheError

SCHEMA_VERSION = 2
"""Written into every Parquet file; files of another version are refused."""

Kind = Literal["key", "complete"]
"""key: one sentence, for Key Semantic Matching. complete: in detail, for Complete Semantic Reconstruction."""

Status = Literal["ok", "failed"]
FinishReason = Literal["eos", "length"]
Flag = Literal["empty", "repeats_prompt", "loops", "refusal", "cut", "wrong_language", "reasoning"]
"""Problems of a text: no letters, repeats the prompt, repeats itself, declines to answer, is cut off, is not English;
and a note: reasoning was cut off from it."""

KINDS: tuple[Kind, ...] = get_args(Kind)
FLAGS: tuple[Flag, ...] = get_args(Flag)
DESCRIPTION_KEY = ("video_id", "action_class", "kind")
VOCABULARY_KEY = ("token_id",)


@dataclass(frozen=True, kw_only=True)
class Description:
    """The description of one action class in one video by a video multimodal LLM, or the reason of a failure."""

    video_id: str
    action_class: str
    kind: Kind
    prompt: str
    """Prompt text, given to the model with the frames."""
    description: str | None
    """The model's answer with whitespace collapsed; None in a failed row."""
    status: Status
    error: str | None
    """Why the row failed; in an ok row None, or why its video is partial."""
    model_id: str
    model_revision: str
    """Commit of a hub model; hash over config and weights of a local folder."""
    generation: str
    """Generation settings as JSON."""
    frame_seconds: tuple[float, ...]
    """Timestamps of the frames given to the model, in seconds; empty if nothing could be decoded."""
    duration: float | None
    """Length of the video in seconds."""
    video_bytes: int | None
    """Size of the video file."""
    video_stamp: str | None
    """Cheap content stamp of the video file: 16 hex digits of the sha256 of its size, first and last 64 KiB."""
    prompt_tokens: int | None
    """Input tokens, frames included; None in a failed row, for imported texts, and if a server does not say."""
    new_tokens: int | None
    finish_reason: FinishReason | None
    """eos: the model ended the answer. length: it was cut off at the token limit. None: as for the counts."""
    flags: tuple[Flag, ...]
    """Problems of the text; empty in a failed row."""
    partial: bool | None
    """Whether the video could be read only partially; None if no frame was decoded."""
    attempt: int
    """1, or more for a retried description."""
    made_by: str
    """Versions of the software, and the host, as JSON."""
    created_at: datetime
    """With a time zone."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.status not in get_args(Status):
            raise CacheError(f"{self._key()}: kind {self.kind!r} with status {self.status!r} is no known pair")
        if self.status == "ok" and ((self.error is not None and not self.partial) or self.description is None):
            raise CacheError(f"{self._key()}: an ok row holds a description, and no error but why it is partial")
        said = (self.description, self.prompt_tokens, self.new_tokens, self.finish_reason)
        if self.status == "failed" and (not self.error or self.flags or any(value is not None for value in said)):
            raise CacheError(f"{self._key()}: a failed row holds an error, and no description")
        if unknown := sorted(set(self.flags) - set(FLAGS)):
            raise CacheError(f"{self._key()}: flags: found {unknown}, expected some of {list(FLAGS)}")

    def _key(self) -> tuple[str, str, str]:
        return (self.video_id, self.action_class, self.kind)


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """The words of one description as rows of the word-vector file."""

    video_id: str
    action_class: str
    kind: Kind
    description_sha256: str
    """sha256 of the description that the tokens are from; empty in a row that marks the key as deleted."""
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    """Row of each token in the word vector file; -1 if it has no vector, below -1 if a vector was made for it."""
    known: tuple[bool, ...]
    is_action_word: tuple[bool, ...]
    """True if the token is a form of a word of the class name."""

    def __post_init__(self) -> None:
        if not len(self.tokens) == len(self.token_ids) == len(self.known) == len(self.is_action_word):
            raise CacheError(f"{self.video_id}, {self.action_class}, {self.kind}: columns of tokens differ in length")


@dataclass(frozen=True, kw_only=True)
class VocabularyRow:
    """The word vector of one word that occurs in the texts."""

    token_id: int
    word: str
    vector: np.ndarray
    """float32, as long as the word vectors are wide."""


def _column(name: str, kind: pa.DataType, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable)


def _list_of(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", kind, nullable=False))


DESCRIPTIONS: pa.Schema = pa.schema(
    [
        _column("video_id", pa.string()),
        _column("action_class", pa.string()),
        _column("kind", pa.string()),
        _column("prompt", pa.string()),
        _column("description", pa.string(), nullable=True),
        _column("status", pa.string()),
        _column("error", pa.string(), nullable=True),
        _column("model_id", pa.string()),
        _column("model_revision", pa.string()),
        _column("generation", pa.string()),
        _column("frame_seconds", _list_of(pa.float64())),
        _column("duration", pa.float64(), nullable=True),
        _column("video_bytes", pa.int64(), nullable=True),
        _column("video_stamp", pa.string(), nullable=True),
        _column("prompt_tokens", pa.int32(), nullable=True),
        _column("new_tokens", pa.int32(), nullable=True),
        _column("finish_reason", pa.string(), nullable=True),
        _column("flags", _list_of(pa.string())),
        _column("partial", pa.bool_(), nullable=True),
        _column("attempt", pa.int32()),
        _column("made_by", pa.string()),
        _column("created_at", pa.timestamp("us", tz="UTC")),
    ]
)

TOKENS: pa.Schema = pa.schema(
    [
        _column("video_id", pa.string()),
        _column("action_class", pa.string()),
        _column("kind", pa.string()),
        _column("description_sha256", pa.string()),
        _column("tokens", _list_of(pa.string())),
        _column("token_ids", _list_of(pa.int32())),
        _column("known", _list_of(pa.bool_())),
        _column("is_action_word", _list_of(pa.bool_())),
    ]
)


def vocabulary_schema(width: int) -> pa.Schema:
    """Schema of VocabularyRow for word vectors of `width` numbers."""
    return pa.schema(
        [
            _column("token_id", pa.int32()),
            _column("word", pa.string()),
            _column("vector", pa.list_(pa.field("element", pa.float32(), nullable=False), width)),
        ]
    )
