"""CannedDescriber: a describer that answers by a function instead of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from priors.describers.protocol import Failure, Prepared, Reply, Request


class CannedDescriber:
    """Answers from a function instead of a model: for tests, and for texts that were made elsewhere."""

    def __init__(
        self, answer: Callable[[Request], str], *, model_id: str = "canned", model_revision: str = "canned"
    ) -> None:
        self.model_id = model_id
        self.model_revision = model_revision
        self._answer = answer

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Return the requests unchanged."""
        return Prepared(tuple(requests), None)

    def describe(self, prepared: Prepared) -> list[Reply | Failure]:
        """One reply per request; words count as tokens."""
        replies: list[Reply | Failure] = []
        for request in prepared.requests:
            words = self._answer(request).split()
            cut = len(words) > request.max_new_tokens
            used = words[: request.max_new_tokens]
            replies.append(Reply(" ".join(used), len(request.prompt.split()), len(used), "length" if cut else "eos"))
        return replies
