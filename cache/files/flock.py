"""flock, with an own exception for file systems without it: Lustre without `-o flock`, gcsfuse, some NFS."""

from __future__ import annotations

import errno
import fcntl
from typing import TextIO

_MISSING = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}


class NoLocks(Exception):
    """The file system has no flock."""


def flock(file: TextIO | int, how: int) -> bool:
    """Lock an open file; False if `how` does not wait and another process has it. Raises NoLocks."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        raise NoLocks(error.strerror) from error
    return True
