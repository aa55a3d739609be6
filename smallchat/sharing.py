"""Memory that several processes of smallchat share. Imports nothing large: a small process uses it too."""

from __future__ import annotations

import mmap
import os
import secrets
import sys
import tempfile
import time

GROWS = sys.platform != "win32"
"""Only what is written of shared memory is taken; elsewhere all of it is, at once."""


class SharedBytes:
    """Zeros that all processes with its `handle` see. It is gone when the last of them lets go of it."""

    def __init__(self, size: int, handle: str | None = None) -> None:
        """Make it, or with another process's `handle` find it. Raises `OSError` where there is not enough."""
        self.size = size
        self.fd: int | None = None
        if sys.platform == "win32":
            self.handle = handle or f"smallchat-{secrets.token_hex(8)}"
            self.map = mmap.mmap(-1, size, tagname=self.handle)
            return
        fd = _file() if handle is None else int(handle)
        if handle is None:
            os.ftruncate(fd, size)
        self.fd, self.handle = fd, str(fd)
        self.map = mmap.mmap(fd, size)

    def release(self, start: int, stop: int) -> None:
        """Give the memory of these bytes back; they are zeros again. Both are multiples of the page size.

        Where the system has no such call, the memory stays taken.
        """
        if hasattr(mmap, "MADV_REMOVE"):
            self.map.madvise(mmap.MADV_REMOVE, start, stop - start)

    def close(self) -> None:
        """Let go; views that are still held keep the memory."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def _file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("smallchat")
    with tempfile.TemporaryFile() as file:  # no name stays behind, however the processes end
        return os.dup(file.fileno())


offer = getattr(os, "sched_yield", lambda: time.sleep(0))
"""Let others have the processor, if any wants it."""
