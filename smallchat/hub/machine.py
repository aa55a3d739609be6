"""What this machine can do: memory, the speed of its products and of its disk; each measured in a moment."""

from __future__ import annotations

import mmap
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil

from smallchat.hub.details import Details
from smallchat.kernels import Kernels, Matrix, choose
from smallchat.kernels.choose import again
from smallchat.kernels.quants import TensorType, row_bytes

PRODUCT_ROWS, PRODUCT_COLS = 32_768, 2560
"""A Q4_0 matrix of 47 MB: more than a processor's own cache holds, as a token's weights are."""
PRODUCT_SECONDS = 0.2
READ_BYTES = 2 << 20
"""One read of the disk's measurement: about an expert of the 21B."""
READ_SECONDS = 0.4
SMALLEST = 64 << 20
"""Bytes a token from which on products decide the speed, and not the steps around them."""
HEADROOM = 512 << 20
"""Memory that is left to everything else."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Figures of this machine; bytes, and bytes a second."""

    memory: int
    available: int
    """Memory that can be had now."""
    kernels: str
    kernels_note: str | None
    """Why the kernels are not the fast ones."""
    threads: int
    product_speed: float
    """Bytes of Q4_0 weights that are multiplied a second, on all threads."""
    disk_speed: float | None
    """Bytes a second of direct reads of `READ_BYTES`; None: not measured."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """How a model would run here."""

    fits: str
    """"memory": all of it; "disk": experts are read as they are wanted; "no"."""
    tokens_per_second: float | None
    """What products and disk allow at the most; None: it does not run, or the disk's speed is not known."""


def measure(sample: Path | None = None, threads: int | None = None) -> Machine:
    """Measure for about half a second. `sample` is a large file whose disk is meant."""
    threads = threads or psutil.cpu_count() or 1
    kernels, note = choose("auto")
    memory = psutil.virtual_memory()
    return Machine(
        memory=_limited(memory.total),
        available=_limited(memory.available),
        kernels=kernels.name,
        kernels_note=note,
        threads=threads,
        product_speed=_product_speed(kernels, threads),
        disk_speed=disk_speed(sample) if sample is not None else None,
    )


def expect(details: Details, machine: Machine) -> Expectation:
    """What `machine` makes of a model: products of what a token reads, and reads of what is missing."""
    room = machine.available - HEADROOM
    if room < details.smallest_memory:
        return Expectation("no", None)
    if details.dense + details.used < SMALLEST:
        return Expectation("memory" if room >= details.memory else "disk", None)
    seconds = (details.dense + details.used) / machine.product_speed
    if room >= details.memory:
        return Expectation("memory", 1 / seconds)
    if machine.disk_speed is None:
        return Expectation("disk", None)
    held = (room - details.memory + details.experts) / details.experts
    return Expectation("disk", 1 / (seconds + details.used * (1 - held) / machine.disk_speed))


def disk_speed(path: Path) -> float | None:
    """Bytes a second of direct reads at random places of a file, past the page cache; None: not possible.

    Where the system has no direct reads, the file's pages are first given up as far as it allows that.
    """
    try:
        size = path.stat().st_size
        if size < READ_BYTES:
            return None
        file = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECT", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    try:
        if sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(file, fcntl.F_NOCACHE, 1)
        with mmap.mmap(-1, READ_BYTES) as page_aligned:
            return _read_speed(file, size, page_aligned)
    except OSError:  # a file system without direct reads
        return None
    finally:
        os.close(file)


def _read_speed(file: int, size: int, into: mmap.mmap) -> float:
    random = np.random.default_rng()
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < READ_SECONDS or not done:
        os.lseek(file, int(random.integers(0, size // READ_BYTES)) * READ_BYTES, os.SEEK_SET)
        if hasattr(os, "readv"):
            done += os.readv(file, [into])
        else:
            done += len(os.read(file, READ_BYTES))
    return done / spent


def _product_speed(kernels: Kernels, threads: int) -> float:
    data = np.full((PRODUCT_ROWS, row_bytes(TensorType.Q4_0, PRODUCT_COLS)), 0x33, np.uint8)
    matrix = Matrix(TensorType.Q4_0, PRODUCT_ROWS, PRODUCT_COLS, data)
    x = np.ones((1, PRODUCT_COLS), np.float32)
    borders = [PRODUCT_ROWS * part // threads for part in range(threads + 1)]
    parts = [matrix.slice(*pair) for pair in pairwise(borders)]
    # Each thread has kernels of its own, as the decoder's processes have.
    lanes = [kernels, *(again(kernels.name) for _ in parts[1:])]
    best, began = float("inf"), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        while best == float("inf") or time.perf_counter() - began < PRODUCT_SECONDS:
            once = time.perf_counter()
            list(pool.map(lambda lane, part: lane.matmul(x, part), lanes, parts))
            best = min(best, time.perf_counter() - once)
    return data.nbytes / best


def _limited(memory: int) -> int:
    """`memory`, or what a container allows of it (Linux, both versions of its groups)."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return min(memory, int(Path(name).read_text()))
        except (OSError, ValueError):
            continue
    return memory
