"""Bad and odd video files, each with what is to come of it: a reason, the right frames, or either of the two."""

from __future__ import annotations

import os
import random
import socket
import struct
import zipfile
import zlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from tests.support.videos.videos import SIDE, paint, write_sound, write_video

FRAMES = 60  # of the videos that the files are made from: 10 a second


@dataclass(frozen=True)
class Case:
    """A file and what `sample_frames` of three frames makes of it."""

    path: Path
    why: str | None = None
    """Pattern of the reason; None if the file is good."""
    numbers: tuple[int, ...] | None = None
    """Painted into the frames; None with no reason means that anything but a crash or a hang will do."""


GOOD = (10, 30, 50)
_DENIED = "cannot be opened: Permission denied"  # but to root nothing is denied


def write_corpus(folder: Path) -> dict[str, Case]:
    """Write all files; the keys say what is the matter with them."""
    mp4 = write_video(folder / "a.mp4", FRAMES, fps=10, container={"movflags": "faststart"}, options={"g": "20"})
    groups = (_cut_short, _no_videos, _no_files, _odd_names, _damaged, _odd_headers, _odd_pictures, _playlists)
    return {name: case for group in groups for name, case in group(folder, mp4).items()}


def _cut_short(folder: Path, mp4: Path) -> dict[str, Case]:
    mkv = write_video(folder / "a.mkv", FRAMES, fps=10)
    ts = write_video(folder / "a.ts", FRAMES, fps=10, options={"g": "20"})
    last = write_video(folder / "moov_last.mp4", FRAMES, fps=10)
    cases = {"ts without its end": Case(_part(ts, 0.6)), "ts without its start": Case(_part(ts, 0.6, end=True))}
    for share in (0.02, 0.3, 0.7):
        cases[f"mp4 cut at {share}"] = Case(_part(mp4, share), "truncated|not a readable|no frame")
        cases[f"mkv cut at {share}"] = Case(_part(mkv, share), "truncated|not a readable|corrupt|no frame")
    cases["mp4 whose index is missing"] = Case(_part(last, 0.6), "no streams|no video stream")
    cases["mp4 without its start"] = Case(_part(mp4, 0.5, end=True), "not a readable video")
    cases["garbage after the end"] = Case(_write(folder / "tail.mp4", mp4.read_bytes() + _noise(5000)), numbers=GOOD)
    cases["zeros after the end"] = Case(_write(folder / "zeros.ts", ts.read_bytes() + bytes(5000)), numbers=GOOD)
    return cases


def _no_videos(folder: Path, mp4: Path) -> dict[str, Case]:
    with zipfile.ZipFile(folder / "zip.mp4", "w") as archive:
        archive.writestr("a.txt", "no video")
    with (folder / "sparse.mp4").open("wb") as sparse:
        sparse.truncate(10 * 2**30)
    bad = "not a readable video|no video stream|unknown|no frame"
    return {
        "zero bytes": Case(_write(folder / "empty.mp4", b""), r"empty file \(0 bytes\)"),
        "one byte": Case(_write(folder / "one_byte.mp4", b"\0"), bad),
        "text": Case(_write(folder / "text.mp4", b"no video at all\n" * 50), bad),
        "a zip archive": Case(folder / "zip.mp4", bad),
        "noise": Case(_write(folder / "noise.mp4", _noise(100_000)), bad),
        "10 GB of zeros": Case(folder / "sparse.mp4", bad),
        "sound alone": Case(write_sound(folder / "sound.mp4"), "audio only"),
        "a web page": Case(_write(folder / "page.mp4", b"<!DOCTYPE html><html><body>404</body></html>"), bad),
    }


def _no_files(folder: Path, mp4: Path) -> dict[str, Case]:
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    (folder / "dangling.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    (folder / "link.mp4").symlink_to(mp4)
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "fifo.mp4")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(folder, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/socket.mp4")  # the name of a socket may have 107 bytes
        os.close(here)
    return {
        "missing": Case(folder / "missing.mp4", "no such file"),
        "a link to itself": Case(folder / "loop.mp4", "cannot be opened: Too many levels"),
        "a dangling link": Case(folder / "dangling.mp4", "a link to no file"),
        "a device": Case(folder / "device.mp4", "not a regular file"),
        "a folder": Case(folder / "folder.mp4", "a folder"),
        "a named pipe": Case(folder / "fifo.mp4", "not a regular file"),
        "a socket": Case(folder / "socket.mp4", "not a regular file"),
        "in a folder that may not be entered": Case(_closed(folder), None if os.geteuid() == 0 else _DENIED),
        "that may not be read": Case(_unreadable(mp4), None if os.geteuid() == 0 else _DENIED),
        "a name too long": Case(folder / ("a" * 300), "cannot be opened: File name too long"),
        "a NUL in the name": Case(folder / "a\0.mp4", "cannot be opened: embedded null"),
        "a file taken for a folder": Case(mp4 / "a.mp4", "cannot be opened: Not a directory"),
        "a link": Case(folder / "link.mp4", numbers=GOOD),
    }


def _closed(folder: Path) -> Path:
    """A video in a folder without the right to enter it."""
    path = _write(folder / "closed" / "a.mp4", b"")
    path.parent.chmod(0)
    return path


def _unreadable(mp4: Path) -> Path:
    """A copy of a video without the right to read it."""
    path = _write(mp4.with_name("unreadable.mp4"), mp4.read_bytes())
    path.chmod(0)
    return path


def _odd_names(folder: Path, mp4: Path) -> dict[str, Case]:
    names = [
        "two words.mp4",
        "'quotes\" `.mp4",
        "Übung 体操.mp4",
        "new\nline.mp4",
        "-i.mp4",
        "50%03d.mp4",
        "pipe:0",
        "a",
    ]
    names += [
        "http:a.mp4",
        "really_mp4.avi",
        "really_mp4.mkv",
        "really_mp4.jpg",
        "*?[].mp4",
        os.fsdecode(b"\xff\xe9.mp4"),
    ]
    data = mp4.read_bytes()
    return {f"named {name!r}": Case(_write(folder / "names" / name, data), numbers=GOOD) for name in names}


def _damaged(folder: Path, mp4: Path) -> dict[str, Case]:
    cases = {}
    for place, (start, stop) in {"header": (0.0, 0.1), "middle": (0.4, 0.6), "end": (0.9, 1.0), "all": (0, 1)}.items():
        data = bytearray(mp4.read_bytes())
        for position in range(int(start * len(data)), int(stop * len(data)), 37):
            data[position] ^= 0xFF
        cases[f"flipped bytes: {place}"] = Case(_write(folder / f"flipped_{place}.mp4", bytes(data)))
    return cases


def _odd_headers(folder: Path, mp4: Path) -> dict[str, Case]:
    data = mp4.read_bytes()
    avi = write_video(folder / "rate.avi", FRAMES, fps=10, codec="mpeg4").read_bytes()
    rate = avi.index(b"strh") + 28  # scale, rate
    shifted = write_video(folder / "negative.mkv", FRAMES, fps=10, times=[k / 10 - 1 for k in range(FRAMES)])
    mkv = write_video(folder / "length.mkv", FRAMES, fps=10).read_bytes()
    length = mkv.index(b"\x44\x89\x88") + 3
    long = mkv[:length] + struct.pack(">d", 600_000.0) + mkv[length + 8 :].replace(b"00:00:06", b"00:10:00")
    raw = bytearray(write_video(folder / "raw.avi", 2, codec="rawvideo").read_bytes())
    size = raw.index(b"strf") + 12
    raw[size : size + 8] = struct.pack("<II", 12000, 12000)
    return {
        "no duration": Case(_write(folder / "endless.mp4", _scale_durations(data, 0)), numbers=GOOD),
        "mp4 whose header says 100 times its length": Case(_write(folder / "long.mp4", _scale_durations(data, 100))),
        "mkv whose header says 100 times its length": Case(_write(folder / "long.mkv", long), numbers=GOOD),
        "a header that claims 12000x12000": Case(_write(folder / "huge.avi", bytes(raw)), "pixels are more than"),
        "0 frames a second": Case(_write(folder / "rate0.avi", avi[:rate] + bytes(8) + avi[rate + 8 :])),
        "frames before zero": Case(shifted, numbers=GOOD),
        "no time stamps": Case(_without_container(folder / "raw.mp4", mp4), "no time stamps"),
        "one frame": Case(write_video(folder / "one.mp4", 1), numbers=(0, 0, 0)),
        "two frames": Case(write_video(folder / "two.mp4", 2), numbers=(0, 1, 1)),
    }


def _odd_pictures(folder: Path, mp4: Path) -> dict[str, Case]:
    Image.fromarray(paint(5)).save(folder / "still.png")
    Image.fromarray(paint(5)).save(folder / "jpg.mp4", "JPEG")
    Image.new("L", (8000, 8000)).save(folder / "large.jpg", quality=10)
    first, *others = (Image.fromarray(paint(number)) for number in range(FRAMES))
    first.save(folder / "moving.gif", save_all=True, append_images=others, duration=100)
    jpeg = bytearray((folder / "jpg.mp4").read_bytes())
    frame_header = jpeg.index(b"\xff\xc0")
    jpeg[frame_header + 5 : frame_header + 9] = struct.pack(">HH", 65500, 65500)
    huge = "its pictures have no size"
    return {
        "a moving gif": Case(folder / "moving.gif", numbers=GOOD),
        "a still png": Case(folder / "still.png", numbers=(5, 5, 5)),
        "a jpeg named .mp4": Case(folder / "jpg.mp4", numbers=(5, 5, 5)),
        "a large still": Case(folder / "large.jpg", numbers=(0, 0, 0)),
        "a png that claims 30000x30000": Case(_write(folder / "huge.png", _huge_png(30000)), huge),
        "a png that claims 2^31": Case(_write(folder / "huger.png", _huge_png(2**31 - 1)), huge),
        "a jpeg that claims 65500x65500": Case(_write(folder / "huge.jpg", bytes(jpeg)), huge),
        "rotated": Case(write_video(folder / "rotated.mp4", FRAMES, rotation=90)),
        "another size from the middle on": Case(_two_sizes(folder / "sizes.ts"), numbers=GOOD),
    }


def _playlists(folder: Path, mp4: Path) -> dict[str, Case]:
    lists = {
        "hls of a local file": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{folder / 'a.ts'}\n#EXT-X-ENDLIST\n",
        "hls of an address": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "hls of a pipe": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{folder / 'fifo.mp4'}\n#EXT-X-ENDLIST\n",
        "ffconcat": "ffconcat version 1.0\nfile a.ts\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    }
    return {
        name: Case(_write(folder / f"{index}.{suffix}", text.encode()), "not a readable video|no video stream|no frame")
        for index, (name, text) in enumerate(lists.items())
        for suffix in (["mp4"] if "hls" not in name else ["m3u8"])
    }


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def _part(path: Path, share: float, *, end: bool = False) -> Path:
    data = path.read_bytes()
    size = int(len(data) * share)
    return _write(path.with_name(f"part_{share}_{end}_{path.name}"), data[-size:] if end else data[:size])


def _noise(size: int) -> bytes:
    return random.Random(7).randbytes(size)


def _scale_durations(data: bytes, factor: int) -> bytes:
    """An mp4 all of whose declared durations are `factor` times what they were."""
    changed = bytearray(data)
    for box, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        at = data.index(box) + offset
        changed[at : at + 4] = struct.pack(">I", struct.unpack(">I", data[at : at + 4])[0] * factor)
    return bytes(changed)


def _huge_png(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


def _without_container(path: Path, source: Path) -> Path:
    """The bare H.264 stream."""
    with av.open(str(source)) as whole, av.open(str(path), "w", format="h264") as bare:
        stream = bare.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                bare.mux(packet)
    return path


def _two_sizes(path: Path) -> Path:
    """A transport stream whose pictures grow to twice the size after half of its frames."""
    with av.open(str(path), "w") as file:
        streams = [cast(VideoStream, file.add_stream("libx264", rate=10, options={"bf": "0"}))]
        streams[0].width = streams[0].height = SIDE
        streams[0].pix_fmt = "yuv420p"
        larger = cast(av.VideoCodecContext, av.CodecContext.create("libx264", "w"))
        larger.width = larger.height = 2 * SIDE
        larger.pix_fmt, larger.framerate, larger.options = "yuv420p", Fraction(10), {"bf": "0"}
        larger.time_base = Fraction(1, 10)
        for number in range(FRAMES):
            small = number < FRAMES // 2
            picture = paint(number) if small else np.kron(paint(number), np.ones((2, 2, 1), np.uint8))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            for packet in streams[0].encode(frame) if small else larger.encode(frame):
                packet.stream = streams[0]
                file.mux(packet)
            if number == FRAMES // 2 - 1:
                file.mux(streams[0].encode())
        for packet in larger.encode():
            packet.stream = streams[0]
            file.mux(packet)
    return path
