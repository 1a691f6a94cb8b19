"""Files are what their first bytes say."""

import gzip
import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from cache.files.kinds import kind_of, not_a


def _zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.npy"))
    return buffer.getvalue()


def _saved(save, *values) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *values)
    return buffer.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "empty"),
        (b"\n <!DOCTYPE html><html><body>Sign in", "html"),
        (b"\xef\xbb\xbf<html>", "html"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "xml"),
        (LFS, "lfs"),
        (b"/annex/objects/MD5E-s1--d41d8cd98f00b204e9800998ecf8427e.npy\n", "annex"),
        (gzip.compress(b"x"), "gzip"),
        (_tarred(), "tar"),
        (_zipped(**{"a.txt": b"x"}), "zip"),
        (_zipped(**{"a.txt": b"x"})[:40], "zip"),
        (_saved(lambda file: np.savez(file, a=np.ones(2))), "npz"),
        (_saved(np.save, np.ones(2)), "npy"),
        (_saved(lambda file: torch.save({"a": torch.ones(2)}, file)), "torch"),
        (save({"a": np.ones(2)}), "safetensors"),
        *((pickle.dumps({"a": [1, 2, (3.5, "x")]}, protocol=protocol), "pickle") for protocol in range(6)),
        (pickle.dumps([list(range(5000)), "x" * 9000], protocol=0), "pickle"),
        (b'{"error": "not found"}', "text"),
        (b"(see the readme) for the weights, please ask.", "text"),
        (b"]", "text"),
        (b"cats and dogs.\n", "text"),
        ("größer als zuvor\n".encode() * 999, "text"),
        (bytes(range(256)) * 4, "unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "bytes",  # archives hold the time at which they were made
)
def test_every_kind_is_known_by_its_first_bytes(tmp_path, content, name):
    """A pickle alone is a pickle, of whatever protocol."""
    (tmp_path / "a").write_bytes(content)
    assert kind_of(tmp_path / "a").name == name


def test_what_it_is_not_is_told_with_what_mends_it(tmp_path):
    """Nothing is told of what was asked for, or where nothing is known."""
    (tmp_path / "a.npy").write_bytes(LFS)
    told = not_a(tmp_path / "a.npy", ".npy file", "npy")
    assert told == "is no .npy file, but a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
    assert not_a(tmp_path / "a.npy", "pointer", "lfs") is None
    assert not_a(tmp_path / "nowhere.npy", ".npy file", "npy") is None


def test_an_archive_with_damaged_names_is_told(tmp_path):
    """Names that are no text are an error of another type."""
    path = tmp_path / "a.pt"
    path.write_bytes(_zipped(**{"é": b"x"}).replace("é".encode(), b"\xff\xff"))
    assert str(not_a(path, "file of torch.save", "torch")).startswith("is no file of torch.save, but a ZIP archive")
