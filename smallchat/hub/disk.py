"""How fast a disk reads experts: several pieces at a time, past the page cache; measured in a moment."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from smallchat.experts.direct import BLOCK, ChangedError, DirectFile, ShortReadError

READERS = 4
"""Reads at a time."""
SECONDS = 0.4
PIECE = 640 << 10
"""Bytes of one read where nothing is known: about a matrix of an expert of the 4B."""
SCRATCH_BYTES = 64 << 20
"""Size of the file that is made where there is none to read."""


@dataclass(frozen=True, slots=True)
class DiskSpeed:
    """What was measured, and how far it can be trusted."""

    bytes_per_second: float
    direct: bool
    """Past the page cache; without that, the system may have answered from memory."""
    path: Path | None
    """The file that was read; None: one made for it, and removed."""


def speed_of(path: Path, piece: int = PIECE) -> DiskSpeed | None:
    """Read pieces of so many bytes at random places of a file; None: it cannot be read, or is too small.

    Takes `SECONDS`.
    """
    piece = -(-piece // BLOCK) * BLOCK
    with (
        contextlib.suppress(OSError, ChangedError, ShortReadError),
        contextlib.closing(DirectFile(path)) as file,
    ):
        if (places := file.size // piece) == 0:
            return None
        began = time.perf_counter()
        with ThreadPoolExecutor(READERS) as pool:
            read = sum(pool.map(partial(_read, file, piece, places), range(READERS)))
        past_cache = file.direct or sys.platform == "darwin"
        return DiskSpeed(read / (time.perf_counter() - began), past_cache, path)
    return None


def speed_in(folder: Path, piece: int = PIECE) -> DiskSpeed | None:
    """The same on a file that is made for it in `folder`, or in what there is of its parents; None: not
    possible there.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="smallchat-", suffix=".speed") as scratch:
            part = np.random.default_rng().bytes(SCRATCH_BYTES // 8)
            for _ in range(8):
                scratch.write(part)
            scratch.flush()
            os.fsync(scratch.fileno())
            found = speed_of(Path(scratch.name), piece)
    except OSError:
        return None
    return found and DiskSpeed(found.bytes_per_second, found.direct, None)


def same_disk(one: Path, other: Path) -> bool:
    """Whether both lie on one file system, as far as they exist."""
    devices = []
    for path in (one, other):
        while not path.exists() and path != path.parent:
            path = path.parent
        devices.append(path.stat().st_dev)
    return devices[0] == devices[1]


def _read(file: DirectFile, piece: int, places: int, seed: int) -> int:
    """Bytes that one reader gets."""
    random = np.random.default_rng([time.time_ns(), seed])
    end, done = time.perf_counter() + SECONDS, 0
    with mmap.mmap(-1, piece) as page_aligned, memoryview(page_aligned) as into:
        while not done or time.perf_counter() < end:
            at = int(random.integers(places)) * piece
            if not file.direct and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fd, at, piece, os.POSIX_FADV_DONTNEED)
            file.read(into, at, piece)
            done += piece
    return done
