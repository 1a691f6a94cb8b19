"""A Hugging Face Hub in memory, behind the HTTP client of huggingface_hub: models are made, committed to, and read."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx
import huggingface_hub
from huggingface_hub.utils._http import default_client_factory


@dataclass
class FakeHub:
    """The files of its models, by commit; the last commit of a model is its main branch."""

    commits: dict[str, list[tuple[str, dict[str, bytes]]]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Method and path of every request."""
    down: bool = False
    """Whether it refuses connections."""

    def files(self, model: str) -> dict[str, bytes]:
        """Path -> content on the main branch."""
        return self.commits[model][-1][1]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request."""
        if self.down:
            raise httpx.ConnectError("the network is unreachable", request=request)
        path = request.url.path
        self.asked.append(f"{request.method} {path}")
        for pattern, answer in self._routes():
            if found := re.fullmatch(pattern, f"{request.method} {path}"):
                return answer(request, *found.groups())
        return httpx.Response(404, request=request)

    def _routes(self) -> list[tuple[str, Callable[..., httpx.Response]]]:
        model = r"([\w.-]+/[\w.-]+)"
        return [
            (r"POST /api/repos/create", self._create),
            (r"POST /api/validate-yaml", lambda request: _json(request, {"errors": [], "warnings": []})),
            (rf"POST /api/models/{model}/preupload/main", self._preupload),
            (rf"POST /api/models/{model}/commit/main", self._commit),
            (rf"GET /api/models/{model}(?:/revision/(\w+))?", self._info),
            (rf"GET /api/models/{model}/tree/(\w+)", self._tree),
            (rf"(?:GET|HEAD) /{model}/resolve/(\w+)/(.+)", self._file),
        ]

    def _create(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        name = f"{asked['organization']}/{asked['name']}"
        self.commits.setdefault(name, [])
        self.private[name] = bool(asked.get("private") or asked.get("visibility") == "private")
        return _json(request, {"url": f"https://huggingface.co/{name}", "id": name})

    def _preupload(self, request: httpx.Request, model: str) -> httpx.Response:
        files = [one["path"] for one in json.loads(request.content)["files"]]
        modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]
        return _json(request, {"files": modes})

    def _commit(self, request: httpx.Request, model: str) -> httpx.Response:
        lines = [json.loads(line) for line in request.content.splitlines()]
        added = [line["value"] for line in lines if line["key"] == "file"]
        content = {one["path"]: base64.b64decode(one["content"]) for one in added}
        before = self.commits[model][-1][1] if self.commits[model] else {}
        commit = hashlib.sha1(request.content).hexdigest()
        self.commits[model].append((commit, {**before, **content}))
        address = f"https://huggingface.co/{model}/commit/{commit}"
        return _json(request, {"success": True, "commitOid": commit, "commitUrl": address})

    def _info(self, request: httpx.Request, model: str, revision: str | None) -> httpx.Response:
        found = self._at(model, revision or "main")
        if found is None:
            code = "RevisionNotFound" if model in self.commits else "RepoNotFound"
            return httpx.Response(404, headers={"X-Error-Code": code}, request=request)
        siblings = [{"rfilename": path} for path in found[1]]
        return _json(request, {"id": model, "sha": found[0], "private": self.private[model], "siblings": siblings})

    def _tree(self, request: httpx.Request, model: str, revision: str) -> httpx.Response:
        found = self._at(model, revision)
        assert found is not None
        rows = [
            {"type": "file", "path": path, "size": len(data), "oid": _etag(data)} for path, data in found[1].items()
        ]
        return _json(request, rows)

    def _file(self, request: httpx.Request, model: str, revision: str, path: str) -> httpx.Response:
        found = self._at(model, revision)
        if found is None or path not in found[1]:
            return httpx.Response(404, headers={"X-Error-Code": "EntryNotFound"}, request=request)
        data = found[1][path]
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": found[0], "Content-Length": str(len(data))}
        return httpx.Response(200, headers=headers, content=data, request=request)

    def _at(self, model: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commits = self.commits.get(model) or []
        if revision == "main":
            return commits[-1] if commits else None
        return next((one for one in commits if one[0] == revision), None)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """The Hub that huggingface_hub talks to meanwhile."""
    hub = FakeHub()
    huggingface_hub.set_client_factory(lambda: httpx.Client(transport=httpx.MockTransport(hub), follow_redirects=True))
    try:
        yield hub
    finally:
        huggingface_hub.set_client_factory(default_client_factory)


def _json(request: httpx.Request, document: Any) -> httpx.Response:
    return httpx.Response(200, json=document, request=request)


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
