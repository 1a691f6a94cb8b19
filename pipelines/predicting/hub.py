"""Runs on the Hugging Face Hub: hf:owner/name[@revision] as a folder on this machine. Only JSON and safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cache.errors import CacheError

SCHEME = "hf:"
LOADED = ("*.json", "*.safetensors")
"""What is downloaded: nothing that could hold code."""


def local_run(run: str | Path) -> Path:
    """The folder of a run; that of hf:owner/name[@revision] is downloaded into the cache of the Hub's client first,
    and only what is not there yet.

    Raises CacheError if there is no such repository, or if it is neither reachable nor in the cache.
    """
    named = str(run)
    if not named.startswith(SCHEME):
        return Path(run)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage] of the HTTP library beneath, whichever it is
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, _, revision = named.removeprefix(SCHEME).partition("@")
    try:
        return Path(snapshot_download(check_name(repository), revision=revision or None, allow_patterns=[*LOADED]))
    except GatedRepoError as error:
        raise CacheError(f"run: {named}: access has to be granted on the Hub first, then log in: {error}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise CacheError(f"run: {named}: the Hub has no such model or revision (or you are not logged in)") from error
    except (LocalEntryNotFoundError, HFValidationError, HTTPError, ConnectionError) as error:
        raise CacheError(
            f"run: {named}: is not in the cache of the Hugging Face Hub on this machine, and the Hub cannot be reached "
            "(offline, or HF_HUB_OFFLINE is set). Run this once with a connection, or copy the run's folder and give "
            f"its path: {error}"
        ) from error


def check_name(repository: str) -> str:
    """The same. Raises CacheError for what is no owner/name."""
    owner, _, name = repository.partition("/")
    if not owner or not name or "/" in name or repository != repository.strip():
        raise CacheError(f"found {repository!r}, expected owner/name of a model on the Hugging Face Hub")
    return repository


def upload(folder: Path, repository: str, *, private: bool, files: Sequence[str], what: str) -> str:
    """Upload a folder's files that fit the patterns `files` in one commit; returns its address. `what` is named in the
    message of the commit. Raises CacheError if the Hub refuses, or cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError  # pyright: ignore[reportPrivateImportUsage]

    api = HfApi()
    try:
        api.create_repo(check_name(repository), private=private or None, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=[*files], commit_message=f"Inference part of {what}"
        )
    except (HTTPError, HFValidationError, ConnectionError) as error:
        raise CacheError(
            f"to: {repository}: the Hub refuses, or cannot be reached (log in with a token that may write: "
            f"`hf auth login`, or HF_TOKEN): {error}"
        ) from error
    return str(done.commit_url)
