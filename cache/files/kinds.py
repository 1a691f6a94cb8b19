"""What a file is by its first bytes, whatever its name says: web pages, pointers of Git LFS and archives among them."""

from __future__ import annotations

import pickletools
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

_HEAD = 4096
_AGAIN = "download it again: an error page or a login page came instead"
_UNPACK = "unpack it first"


@dataclass(frozen=True)
class Kind:
    """What a file was found to be."""

    name: str
    """Short and stable, for programs."""
    what: str
    """For people, with its article."""
    mend: str = ""
    """What makes a usable file of it, where that is known."""

    def __str__(self) -> str:
        return f"{self.what}; {self.mend}" if self.mend else self.what


_MAGIC = (
    (b"\x93NUMPY", Kind("npy", "a NumPy array (.npy)")),
    (b"\x1f\x8b", Kind("gzip", "a gzip archive", _UNPACK)),
    (b"BZh", Kind("bzip2", "a bzip2 archive", _UNPACK)),
    (b"\xfd7zXZ\0", Kind("xz", "an xz archive", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", Kind("zstd", "a Zstandard archive", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Kind("7z", "a 7z archive", _UNPACK)),
    (b"Rar!\x1a\x07", Kind("rar", "a RAR archive", _UNPACK)),
    (b"\x89HDF\r\n\x1a\n", Kind("hdf5", "an HDF5 file", "save its arrays with numpy.save")),
    (b"MATLAB 5.0", Kind("matlab", "a MATLAB file", "save its arrays with numpy.save")),
    (b"PAR1", Kind("parquet", "a Parquet table")),
    (b"\x89PNG", Kind("picture", "a picture")),
    (b"\xff\xd8\xff", Kind("picture", "a picture")),
    (b"%PDF-", Kind("pdf", "a PDF")),
)
_LFS = Kind("lfs", "a Git LFS pointer, not the file itself", "fetch it with `git lfs pull`")
_ANNEX = Kind("annex", "a git-annex pointer, not the file itself", "fetch it with `git annex get`")
_HTML = Kind("html", "a web page (HTML)", _AGAIN)
_XML = Kind("xml", "an XML text", _AGAIN)
_TAR = Kind("tar", "a tar archive", _UNPACK)
_ZIP = Kind("zip", "a ZIP archive", _UNPACK)
_NPZ = Kind("npz", "a NumPy archive (.npz)", "save each of its arrays with numpy.save")
_TORCH = Kind("torch", "a file of torch.save")
_PICKLE = Kind("pickle", "a pickle")
_TENSORS = Kind("safetensors", "a safetensors file")
_EMPTY = Kind("empty", "empty (0 bytes)", "download it again")
_UNKNOWN = Kind("unknown", "of no kind that is known")


def kind_of(path: Path) -> Kind:
    """Look at the first few thousand bytes; of ZIP archives at the names of their members. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _archive(path)
    return _by_head(head, whole=len(head) < _HEAD)


def not_a(path: Path, wanted: str, *names: str) -> str | None:
    """For messages: that a file is no `wanted` but something else; None if it is one of `names`, or cannot be told."""
    try:
        kind = kind_of(path)
    except OSError:
        return None
    return None if kind.name in (*names, "unknown") else f"is no {wanted}, but {kind}"


def _by_head(head: bytes, *, whole: bool) -> Kind:
    if not head:
        return _EMPTY
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return _TAR
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= length < 1 << 32:
        return _TENSORS
    if _is_pickle(head, whole=whole):
        return _PICKLE
    return _text(head)


def _is_pickle(head: bytes, *, whole: bool) -> bool:
    """By its first operations: old protocols have no mark of their own."""
    if head[0] == 0x80:
        return len(head) > 1 and 2 <= head[1] <= 5
    if head[:1] not in b"(]}c" or b"<" in head[:1]:
        return False
    count = 0
    try:
        for count, _ in enumerate(pickletools.genops(head)):
            if count > 20:
                return True
    except Exception:  # where the head ends, or where it is no pickle: its reader raises many types
        return not whole and count > 5
    return count > 0


def _text(head: bytes) -> Kind:
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return _LFS
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith(b"/annex/objects/") or b".git/annex/objects" in head[:200]:
        return _ANNEX
    if re.match(rb"<!doctype\s+html|<html|<head|<body|<script|<!--", start):
        return _HTML
    if start.startswith(b"<?xml"):
        return _HTML if b"<html" in start else _XML
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(head) - error.start > 4 or len(head) < _HEAD:  # else a character is cut at the end
            return _UNKNOWN
        text = head[: error.start].decode("utf-8-sig")
    if any(ord(sign) < 32 and sign not in "\t\n\r\f\v" for sign in text):
        return _UNKNOWN
    first = text.strip().split("\n", 1)[0].strip()
    kind = "a JSON text" if first.startswith(("{", "[")) else "a text file"
    return Kind("text", f"{kind} that begins with {first[:40]!r}")


def _archive(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # the last two of damaged names and versions
        return Kind("zip", "a ZIP archive that is damaged or cut short", "download it again")
    if any(name.endswith("/data.pkl") for name in names):
        return _TORCH
    return _NPZ if names and all(name.endswith(".npy") for name in names) else _ZIP
