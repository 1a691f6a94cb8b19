"""Which files may be videos: by their suffix where it is known, else by their first bytes. Decoding tells the rest."""

from __future__ import annotations

import os
import stat
from pathlib import Path

VIDEO_SUFFIXES = frozenset(
    (
        ".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv", ".3gp",
        ".3g2", ".asf", ".divx", ".dv", ".evo", ".f4v", ".h264", ".h265", ".hevc", ".264", ".265", ".m1v",
        ".m2p", ".m2t", ".m2ts", ".m2v", ".mj2", ".mjpeg", ".mjpg", ".mod", ".mp4v", ".mpe", ".mpv", ".mpv2",
        ".mts", ".mxf", ".nut", ".ogm", ".ogx", ".ps", ".qt", ".rm", ".rmvb", ".tod", ".trp", ".tp", ".vob",
        ".wtv", ".y4m", ".xvid", ".ivf", ".ismv", ".amv", ".nsv", ".vro", ".dvr-ms", ".viv",
    )
)  # fmt: skip
"""Suffixes, in lower case, of what is a video or meant to be one."""

NAMED_SUFFIXES = frozenset((".gif", ".dat", ".swf"))
"""Those of what is one at times: a video where it is asked for by its whole name, not where a video is looked for."""

OTHER_SUFFIXES = frozenset(
    (
        ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".htm", ".md", ".rst", ".yaml", ".yml",
        ".toml", ".ini", ".log", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".srt", ".vtt", ".ass", ".sub",
        ".npy", ".npz", ".pkl", ".pickle", ".pt", ".pth", ".safetensors", ".h5", ".hdf5", ".mat", ".parquet",
        ".arrow", ".db", ".sqlite", ".bin", ".kv", ".vec", ".py", ".ipynb", ".sh", ".c", ".jpg", ".jpeg",
        ".png", ".bmp", ".tif", ".tiff", ".webp", ".svg", ".heic", ".ico", ".wav", ".mp3", ".flac", ".aac",
        ".m4a", ".ogg", ".oga", ".opus", ".wma", ".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".tar", ".7z",
        ".rar", ".part", ".crdownload", ".tmp", ".lock", ".md5", ".sha1", ".sha256", ".nfo", ".url", ".torrent",
        ".exe",
    )
)  # fmt: skip
"""Suffixes of what is surely no video, also where a video has the same name: tables, captions, pictures, sound."""

_HEAD = 1024


def may_be_video(path: Path) -> bool:
    """Whether a file is to be taken for a video. Nothing is opened but regular files of a suffix that is not known."""
    suffix = path.suffix.lower()
    if path.name.startswith(".") or suffix in OTHER_SUFFIXES or suffix in NAMED_SUFFIXES:
        return False
    return suffix in VIDEO_SUFFIXES or begins_like_a_video(path)


def begins_like_a_video(path: Path) -> bool:
    """Whether the first bytes of a regular file are those of a container of videos; False if it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for whatever is at its other end
            return False
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return False
    try:
        return _is_container(os.read(file, _HEAD))
    except OSError:
        return False
    finally:
        os.close(file)


def _is_container(head: bytes) -> bool:
    starts = (b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\0\0\x01\xba", b"\0\0\x01\xb3")
    if head.startswith(starts) or head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head[:4] == b"OggS":
        return b"theora" in head or b"OVP80" in head
    # transport streams: packets of 188 bytes, or of 192 with a time before each
    return any(len(head) > at + 2 * size and head[at::size][:3] == b"GGG" for at, size in ((0, 188), (4, 192)))


def reason(path: Path) -> str:
    """Why a file that was named as a video is not taken for one, as in "which ..."; empty if it is."""
    if path.is_symlink() and not path.exists():
        return "is a link to itself or to no file"
    if path.is_dir():
        return "is a folder, not a file"
    if not path.is_file():
        return "is not a regular file"
    if may_be_video(path) or path.suffix.lower() in NAMED_SUFFIXES:
        return ""
    suffix = f"has the suffix {path.suffix}, not known" if path.suffix else "has no suffix, let alone one that is known"
    return f"{suffix} as that of a video, and its first bytes are not those of one"
