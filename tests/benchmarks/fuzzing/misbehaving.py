"""A format whose reader does everything wrong, in turn: for the benchmark to find."""

import random
import signal
import time
from pathlib import Path

from benchmarks.fuzzing.trials import UNKNOWN, Input, Read
from cache.errors import CacheError

WAYS = ("right", "refused", "hang", "died", "memory", "traceback", "another value", "no file", "same refused", "silent")


class Misbehaving:
    """See `Format`."""

    name = "tests.benchmarks.fuzzing.misbehaving"
    share = 1

    def draw(self, rng: random.Random) -> Input:
        """One of the ways."""
        return self.of(rng.choice(WAYS))

    def of(self, way: str) -> Input:
        """This one."""
        told = ("line 3",) if way == "silent" else ()
        return Input(way, {"a.txt": way.encode()}, same=7 if way == "same refused" else UNKNOWN, told=told)

    def read(self, folder: Path) -> Read:
        """As the file says."""
        match way := (folder / "a.txt").read_text():
            case "hang":
                time.sleep(60)
            case "died":
                signal.raise_signal(signal.SIGKILL)
            case "memory":
                bytearray(3 << 30)
            case "traceback":
                raise KeyError(way)
            case "another value":
                return Read(8)
            case "no file":
                raise CacheError("something is wrong")
            case "refused" | "same refused":
                raise CacheError(f"{folder / 'a.txt'}: is empty")
        return Read(7)

    def plain(self, folder: Path) -> int:
        """Seven."""
        return 7


FORMAT = Misbehaving()
