"""Resolves the name of a pretrained model to its exact revision, and to a digest of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from cache.errors import UserError
from cache.files.kinds import kind_of

_WEIGHTS = (".safetensors", ".safetensors.index.json")
_SETTINGS = ("config", "token", "vocab", "merges", "chat_template")  # in names of files that change the answers
_STRANGE = ("html", "lfs", "annex")  # kinds of files that stand in the place of what was to be fetched


class ModelError(UserError):
    """The model cannot be used; the message names the field of the recipe and how to fix it."""


def is_folder(model: str) -> bool:
    """True if `model` is a folder on this machine rather than a hub id."""
    return Path(model).is_dir()


def model_id(model: str) -> str:
    """The name to record: a hub id, or the name of a folder without its path, which changes no text."""
    return Path(model).resolve().name if is_folder(model) else model


def resolve_revision(model: str, revision: str | None, *, option: str = "describer.model") -> str:
    """The revision to record: the commit of a hub model, or a hash over configuration and weights of a folder.

    `option` is the field of the recipe that named the model. Raises ModelError if there is no such folder, and no such
    model on the hub or in the Hugging Face cache.
    """
    if is_folder(model):
        return _folder_hash(Path(model), option)
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(f"{option}: found {model!r}, which is neither a folder here nor a hub id like owner/name")
    from transformers.utils.hub import cached_file, extract_commit_hash

    try:
        config = cached_file(model, "config.json", revision=revision or "main")
    except OSError as error:
        raise ModelError(
            f"{option}: {model!r} (revision {revision or 'main'}) is no folder here, not in the Hugging Face "
            f"cache, and cannot be fetched: {error}"
        ) from error
    commit = extract_commit_hash(config, None)
    if commit is None:
        raise ModelError(f"{option}: no commit is known for {model!r}; give a folder or a revision")
    return commit


def config_file(model: str, commit: Mapping[str, str]) -> Path:
    """The config.json of a folder, or of a hub model whose `commit` is {"revision": ...}."""
    if is_folder(model):
        return Path(model) / "config.json"
    from transformers.utils.hub import cached_file

    found = cached_file(model, "config.json", **commit)
    assert found is not None
    return Path(found)


def weight_files(model: str, commit: Mapping[str, str]) -> list[Path]:
    """The .safetensors files of a folder, or of a hub model that was loaded."""
    folder = config_file(model, commit).parent
    whole = folder / "model.safetensors"
    return [whole] if whole.exists() else sorted(folder.glob("*.safetensors"))


def weights_digest(files: Iterable[Path]) -> str:
    """Over the contents of weight files, whatever they are called."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(_file_hash(path))
    return f"sha256:{digest.hexdigest()[:16]}"


def _folder_hash(folder: Path, option: str) -> str:
    files = sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith(_WEIGHTS) or (any(part in path.name for part in _SETTINGS) and path.is_file())
    )
    if not any(path.suffix == ".safetensors" for path in files):
        raise ModelError(f"{option}: {folder} holds no .safetensors weights")
    for path in files:
        kind = kind_of(path)
        if kind.name in _STRANGE or (
            path.suffix == ".safetensors" and kind.name not in ("safetensors", "unknown", "empty")
        ):
            raise ModelError(f"{option}: {path}: is {kind}")
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + _file_hash(path))
    return f"sha256:{digest.hexdigest()[:16]}"


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
