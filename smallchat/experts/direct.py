"""The model file, read past the page cache: what is read lies in memory once, and counts once.

Imports nothing large: the reader's process uses it too.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

BLOCK = 4096
"""Direct reads begin and end at multiples of this, in the file and in memory."""

_F_NOCACHE = 48  # macOS, <fcntl.h>


class ShortReadError(Exception):
    """The file ended before the bytes that were asked for."""


class ChangedError(Exception):
    """The file is not what it was when it was opened."""


class DirectFile:
    """One open file that must not change. Several threads may read at once."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError` where it cannot be opened. Without direct reads on its file system, plain ones."""
        self.fd, self.direct = _open(path)
        self.identity: tuple[int, ...] = _identity(self.fd)
        """Device, number, size and time of the last change, when it was opened."""
        self._lock = threading.Lock()

    @classmethod
    def adopt(cls, fd: int, direct: bool, identity: Sequence[int]) -> DirectFile:
        """The same over a descriptor that another process opened, and what the file was then."""
        file = cls.__new__(cls)
        file.fd, file.direct, file.identity = fd, direct, tuple(identity)
        file._lock = threading.Lock()
        return file

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.identity[2]

    def read(self, into: memoryview, offset: int, needed: int) -> None:
        """Fill `into` from `offset`; both begin and end at multiples of `BLOCK`.

        The end of the file may come after the first `needed` bytes. Raises `ShortReadError`, `ChangedError`
        where the file was written to since it was opened, or `OSError`.
        """
        done = 0
        while done < needed:
            count = self._some(into[done:], offset + done)
            done += count
            if not count or (done < needed and self.direct and done % BLOCK):
                if _identity(self.fd) != self.identity:
                    raise ChangedError
                raise ShortReadError
        if not self.direct and hasattr(os, "posix_fadvise"):
            # A second copy in the page cache would count against the budget.
            os.posix_fadvise(self.fd, offset, len(into), os.POSIX_FADV_DONTNEED)
        if _identity(self.fd) != self.identity:
            raise ChangedError

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)

    def _some(self, into: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self.fd, [into], offset)
        with self._lock:  # there is one position for all threads
            os.lseek(self.fd, offset, os.SEEK_SET)
            data = os.read(self.fd, len(into))
        into[: len(data)] = data
        return len(data)


def _identity(fd: int) -> tuple[int, int, int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _open(path: Path) -> tuple[int, bool]:
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    if hasattr(os, "O_DIRECT") and hasattr(os, "preadv"):
        try:
            fd = os.open(path, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            if _reads(fd):
                return fd, True
            os.close(fd)
    fd = os.open(path, flags)
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(fd, _F_NOCACHE, 1)
    return fd, False


def _reads(fd: int) -> bool:
    """Whether direct reads work here: some file systems open such a file and then refuse."""
    with mmap.mmap(-1, BLOCK) as page:
        view = memoryview(page)
        try:
            os.preadv(fd, [view], 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
        finally:
            view.release()
    return True
