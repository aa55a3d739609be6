"""The fast kernels: quantised products given to ggml, NumPy for what it does not know."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from smallchat.errors import KernelError
from smallchat.kernels import ggml_abi
from smallchat.kernels.base import Floats, Matrix
from smallchat.kernels.ggml_abi import address_of
from smallchat.kernels.numpy import NumpyKernels
from smallchat.kernels.quants import TensorType

NOT_IN_GGML = frozenset({TensorType.BF16})
"""Types that this ggml does not know; NumPy computes them."""

SHARED_WORK = 4 << 20
"""From this many weights × tokens on, handing a part to another thread (0.1 ms) saves more than it costs."""

PROBE_SECONDS = 20

_making = threading.Lock()


class GgmlKernels(NumpyKernels):
    """Products by the ggml inside the `ctransformers` wheel.

    Each token's activations are rounded to 8 bit in front of quantised weights (that is how ggml
    multiplies), and every row of x is computed by itself: a token's result does not depend on its chunk.
    """

    def __init__(self, library: Path, threads: int) -> None:
        """Raises `KernelError` where the library does not load or compute here."""
        self.name = f"ggml ({library.parent.name})"
        if not _works(str(library)):
            raise KernelError(f"ggml does not run on this machine: {library}", "Use --kernels numpy")
        self._library = ggml_abi.load(str(library))
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "ggml") if threads > 1 else None
        self._products: dict[tuple[int, int, int, int], ggml_abi.Product] = {}

    def matmul(self, x: Floats, w: Matrix) -> Floats:
        """See `Kernels.matmul`."""
        if w.kind in NOT_IN_GGML:
            return super().matmul(x, w)
        x = np.ascontiguousarray(x, np.float32)
        out = np.empty((len(x), w.rows), np.float32)
        if self._pool is None or len(x) * w.rows * w.cols < SHARED_WORK or w.rows < self._threads:
            self._part(x, w, out, 0, 0, w.rows)
            return out
        borders = [w.rows * part // self._threads for part in range(self._threads + 1)]
        others = [
            self._pool.submit(self._part, x, w, out, lane, *borders[lane : lane + 2])
            for lane in range(1, self._threads)
        ]
        self._part(x, w, out, 0, *borders[:2])
        for other in others:
            other.result()
        return out

    def _part(self, x: Floats, w: Matrix, out: Floats, lane: int, start: int, stop: int) -> None:
        """Rows `start` to `stop` of W, by the thread numbered `lane`: each has products of its own."""
        key = (lane, int(w.kind), stop - start, w.cols)
        product = self._products.get(key)
        if product is None:
            product = self._products[key] = _product(self._library, *key)
        if len(x):
            weights = w.address + start * w.data.shape[1]
            product(weights, address_of(x), address_of(out) + start * 4, len(x), w.rows * 4)


@functools.cache
def _product(library: ggml_abi.Library, lane: int, kind: int, rows: int, cols: int) -> ggml_abi.Product:
    """One product a lane, shape and process: tensors made in the library's context are never given back."""
    with _making:
        return ggml_abi.Product(library, kind, rows, cols)


@functools.cache
def _works(library: str) -> bool:
    command = [sys.executable, "-I", "-S", ggml_abi.__file__, library]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def find_library() -> Path:
    """The build of the library that suits this processor. Raises `KernelError` where there is none."""
    # Found, not imported: the import pulls in a hub client.
    spec = find_spec("ctransformers")
    if spec is None or not spec.origin:
        raise KernelError("The ctransformers package is not installed", "Install it, or use --kernels numpy")
    builds = _builds(platform.system(), platform.machine().lower())
    names = ("libctransformers.so", "libctransformers.dylib", "ctransformers.dll")
    for build in builds:
        for name in names:
            path = Path(spec.origin).parent / "lib" / build / name
            if path.is_file() and path.suffix == _suffix():
                return path
    what = f"ctransformers carries no ggml for {platform.system()} on {platform.machine()}"
    raise KernelError(what, "Use --kernels numpy")


def _suffix() -> str:
    return {"Darwin": ".dylib", "Windows": ".dll"}.get(platform.system(), ".so")


def _builds(system: str, machine: str) -> tuple[str, ...]:
    """Folders worth trying, the fastest first."""
    if machine in {"x86_64", "amd64"}:
        flags = _processor_flags(system)
        if flags is None:
            return ("avx2", "avx", "basic")
        builds = [("avx2", {"avx2", "fma", "f16c"}), ("avx", {"avx", "f16c"})]
        return (*(name for name, needs in builds if needs <= flags), "basic")
    return ("basic",) if system == "Darwin" else ()


def _processor_flags(system: str) -> set[str] | None:
    """Instruction sets of this processor in Linux's spelling; None where they cannot be had."""
    try:
        if system == "Linux":
            for line in Path("/proc/cpuinfo").read_text().splitlines():
                if line.startswith("flags"):
                    return set(line.partition(":")[2].split())
        if system == "Darwin":
            names = ("machdep.cpu.features", "machdep.cpu.leaf7_features")
            text = subprocess.run(["sysctl", "-n", *names], capture_output=True, text=True, timeout=5).stdout
            return {"avx" if flag == "avx1.0" else flag for flag in text.lower().split()}
    except (OSError, subprocess.TimeoutExpired):
        pass
    return None
