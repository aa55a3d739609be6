"""What this machine can do: memory, the speed of its products and of its disk; each measured in a moment."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil

from smallchat.engine.fitting import machine_memory
from smallchat.hub.details import Details
from smallchat.hub.disk import speed_of
from smallchat.kernels import Kernels, Matrix, choose
from smallchat.kernels.choose import again
from smallchat.kernels.quants import TensorType, row_bytes

PRODUCT_ROWS, PRODUCT_COLS = 32_768, 2560
"""A Q4_0 matrix of 47 MB: more than a processor's own cache holds, as a token's weights are."""
PRODUCT_SECONDS, PRODUCT_SECONDS_AT_MOST = 0.2, 0.8
"""Longer where other programs disturb: until `PRODUCT_TIMES` came out alike, as the fastest."""
PRODUCT_TIMES, PRODUCT_ALIKE = 3, 1.05
MOST_LANES = 48
"""Threads that are measured at the most: memory is no faster for more, and ggml allows 64 in a process."""
STEP_SECONDS = 150e-6
"""What a layer takes of a token beside its products. Measured with the shapes of 4B and 21B on Zen 4."""
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
    """Bytes a second of direct reads; None: not measured."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """How a model would run here."""

    fits: str
    """"memory": all of it; "disk": experts are read as they are wanted; "no"."""
    tokens_per_second: float | None
    """With uses spread evenly, and nothing of the reading hidden; None: it does not run, or is not known."""


def measure(sample: Path | None = None, threads: int | None = None) -> Machine:
    """Measure for half a second, or one on a busy machine. `sample` is a large file whose disk is meant."""
    threads = threads or psutil.cpu_count() or 1
    kernels, note = choose("auto")
    memory = machine_memory()
    disk = speed_of(sample) if sample is not None else None
    return Machine(
        memory=memory.total,
        available=memory.available,
        kernels=kernels.name,
        kernels_note=note,
        threads=threads,
        product_speed=_product_speed(kernels, min(threads, MOST_LANES)),
        disk_speed=disk.bytes_per_second if disk is not None and disk.direct else None,
    )


def expect(details: Details, machine: Machine) -> Expectation:
    """What `machine` makes of a model: products of what a token reads, and reads of what is missing."""
    room = machine.available - HEADROOM
    if room < details.smallest_memory:
        return Expectation("no", None)
    seconds = compute_seconds(details, machine)
    if room >= details.memory:
        return Expectation("memory", seconds and 1 / seconds)
    if seconds is None or machine.disk_speed is None:
        return Expectation("disk", None)
    held = (room - details.memory + details.experts) / details.experts
    return Expectation("disk", 1 / (seconds + details.used * (1 - held) / machine.disk_speed))


def compute_seconds(details: Details, machine: Machine) -> float | None:
    """A token whose experts are all in memory; None for a model so small that other things decide."""
    size = details.dense + details.used
    return size / machine.product_speed + details.layout.layers * STEP_SECONDS if size >= SMALLEST else None


def _product_speed(kernels: Kernels, threads: int) -> float:
    data = np.full((PRODUCT_ROWS, row_bytes(TensorType.Q4_0, PRODUCT_COLS)), 0x33, np.uint8)
    matrix = Matrix(TensorType.Q4_0, PRODUCT_ROWS, PRODUCT_COLS, data)
    x = np.ones((1, PRODUCT_COLS), np.float32)
    borders = [PRODUCT_ROWS * part // threads for part in range(threads + 1)]
    parts = [matrix.slice(*pair) for pair in pairwise(borders)]
    # Each thread has kernels of its own, as the decoder's processes have.
    lanes = [kernels, *(again(kernels.name, kernels.repacks) for _ in parts[1:])]
    times: list[float] = []
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        while not times or not _settled(times, time.perf_counter() - began):
            once = time.perf_counter()
            list(pool.map(lambda lane, part: lane.matmul(x, part), lanes, parts))
            times.append(time.perf_counter() - once)
    return data.nbytes / min(times)


def _settled(times: list[float], spent: float) -> bool:
    alike = sum(time < PRODUCT_ALIKE * min(times) for time in times)
    return spent > (PRODUCT_SECONDS if alike >= PRODUCT_TIMES else PRODUCT_SECONDS_AT_MOST)
