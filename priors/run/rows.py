"""Replies and failures as rows of the cache, with their provenance."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from pydantic import JsonValue

from cache.descriptions.flags import flags_of
from cache.errors import CacheError
from cache.files.texts import plain, shown
from cache.tables.columns import to_table
from cache.tables.schema import DESCRIPTIONS, Description
from priors.describers.protocol import Describer, Failure, Reply
from priors.run.batching import Asked
from priors.run.plan import Question
from priors.run.recipe import DescriptionRecipe
from priors.video.decoding import Decoded

_log = logging.getLogger(__name__)
_SOFTWARE = ("mllm4wtal", "transformers", "torch", "av")


class RowMaker:
    """Makes the rows of one describer under one recipe."""

    def __init__(self, recipe: DescriptionRecipe, describer: Describer, again: Mapping[str, JsonValue]) -> None:
        self._recipe = recipe
        self._describer = describer
        self._again = again
        """Settings that replace the usual ones when a question is retried."""

    def answered(self, asked: Asked, reply: Reply) -> Description:
        """The ok row of a reply; whitespace is collapsed."""
        text = " ".join(reply.text.split())
        prompt = asked.request.prompt
        row = self._row(asked.question, asked.decoded, asked.request.max_new_tokens)
        return Description(
            **row,
            description=text,
            status="ok",
            error=None if asked.decoded.frames is None else asked.decoded.frames.odd,
            prompt_tokens=reply.prompt_tokens,
            new_tokens=reply.new_tokens,
            finish_reason=reply.finish_reason,
            flags=flags_of(text, prompt=prompt, finish_reason=reply.finish_reason, reasoning=reply.reasoning),
        )

    def failed(self, question: Question, decoded: Decoded, reason: str) -> Description:
        """The failed row of a question."""
        row = self._row(question, decoded, self._recipe.max_new_tokens(question.key[2]))
        no_reply = dict.fromkeys(("description", "prompt_tokens", "new_tokens", "finish_reason"))
        return Description(**row, **no_reply, status="failed", error=plain(reason), flags=())

    def _row(self, question: Question, decoded: Decoded, max_new_tokens: int) -> dict:
        video_id, label, kind = question.key
        frames = decoded.frames
        settings = {**self._recipe.describer.model_dump(mode="json"), **(self._again if question.attempt > 1 else {})}
        generation = {**settings, "max_new_tokens": max_new_tokens}
        return {
            "video_id": video_id,
            "action_class": label,
            "kind": kind,
            "prompt": self._recipe.prompt(kind, label),
            "model_id": self._describer.model_id,
            "model_revision": self._describer.model_revision,
            "generation": json.dumps(generation, sort_keys=True),
            "frame_seconds": () if frames is None else tuple(frames.seconds.tolist()),
            "duration": None if frames is None else frames.duration,
            "video_bytes": decoded.size,
            "video_stamp": decoded.stamp,
            "partial": None if frames is None else frames.partial,
            "attempt": question.attempt,
            "made_by": made_by(),
            "created_at": datetime.now(UTC),
        }


def storable(answer: Reply | Failure) -> Reply | Failure:
    """An answer as it is; the failure that it is where its text cannot be written into a file."""
    if isinstance(answer, Reply):
        try:
            answer.text.encode()
        except UnicodeEncodeError as error:
            around = shown(answer.text[max(error.start - 20, 0) : error.end + 20])
            return Failure(f"the answer holds a lone surrogate, which is no Unicode text, at {around}")
    return answer


def kept(row: Description) -> Description | None:
    """A row as it is, or as a failed one where a value of it fits no column; None where that would take the place of an
    earlier text, or its key itself cannot be stored. Both are told."""
    try:
        to_table([row], DESCRIPTIONS)
        return row
    except CacheError as error:
        reason = plain(str(error))
    said = dict.fromkeys(("description", "prompt_tokens", "new_tokens", "finish_reason"))
    failed = replace(row, **said, status="failed", error=f"cannot be stored: {reason}", flags=())
    _log.warning("%s, %s, %s: cannot be stored: %s", shown(row.video_id), shown(row.action_class), row.kind, reason)
    try:
        to_table([failed], DESCRIPTIONS)
    except CacheError:
        return None
    return failed if row.attempt == 1 else None


@cache
def made_by() -> str:
    """Versions of the software and the host, as JSON."""
    versions = {"host": socket.gethostname()}
    for name in _SOFTWARE:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return json.dumps(versions, sort_keys=True)
