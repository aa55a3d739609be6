"""The fast kernels: quantised products given to ggml, NumPy for what it does not know."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from smallchat import processor
from smallchat.errors import KernelError
from smallchat.kernels import ggml_abi, repacked_abi
from smallchat.kernels.base import Floats, Matrix
from smallchat.kernels.ggml_abi import address_of
from smallchat.kernels.numpy import NumpyKernels
from smallchat.kernels.quants import LAYOUTS, TensorType

Product = ggml_abi.Product | repacked_abi.RepackedProduct

NOT_IN_GGML = frozenset({TensorType.BF16})
"""Types that this ggml does not know; NumPy computes them."""

BLAS_FROM = 18
"""From this many rows of x on, dequantising once and multiplying in float32 is faster than ggml's product,
which takes as long for every row as for the first. Measured for Q4_0 (dequantised at 2.3 G weights/s a core,
multiplied by ggml at 20, by BLAS at 44); the K-quants are not far from it."""
REPACKED_BLAS_FROM = sys.maxsize
"""The same where rows are interleaved, never: four rows of x at a time are multiplied at 63 G weights/s,
however many there are, where dequantising and BLAS come to 33, 49, 61 and 65 for 16, 64, 256 and 512 rows
(Zen 5, 256 bits) …"""
REPACKED_WIDE_BLAS_FROM = 48
"""… but where BLAS computes 512 bits at once, they come to 32, 73, 97 and 110."""
_WIDE = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids"})
"""OpenBLAS's kernels that do."""

PROBE_SECONDS = 20


class GgmlKernels(NumpyKernels):
    """Products by the ggml inside the `ctransformers` wheel, on the calling thread.

    For a few rows of x, ggml multiplies: each row's activations are rounded to 8 bit in front of quantised
    weights (that is how it computes), every row by itself. For more, ggml dequantises and BLAS multiplies:
    nothing is rounded then.
    """

    piece = 1 << 21
    """8 MB of float32, one matrix of an expert of the 21B."""

    def __init__(self, library: Path, probe: bool = True, repacked: Path | None = None) -> None:
        """Raises `KernelError` where the library does not compute here; `probe` tries it in a child.
        `repacked` is the library of `find_repacked`: one that does not compute is passed over.
        """
        super().__init__()
        self.name = f"ggml ({library.parent.name})"
        if probe and not _works(ggml_abi.__file__, str(library)):
            raise KernelError(f"ggml does not run on this machine: {library}", "Use --kernels numpy")
        self._repacked = None
        if repacked is not None and (not probe or _works(repacked_abi.__file__, str(repacked))):
            self._repacked = repacked_abi.load(str(repacked))
        self.repacks = self._repacked is not None
        wide = any(blas.get("architecture") in _WIDE for blas in threadpoolctl.threadpool_info())
        self._repacked_from = REPACKED_WIDE_BLAS_FROM if wide else REPACKED_BLAS_FROM
        if self.repacks:
            self._few, self._beside = (1.9, 33.0) if wide else (1.03, 19.0)
        else:
            self._few, self._beside = 2.2, 19.0
        try:
            self.context = ggml_abi.Context(ggml_abi.load(str(library)))
        except (OSError, AttributeError) as error:
            raise KernelError(f"{library} cannot be used: {error}", "Use --kernels numpy") from None
        self._products: dict[tuple[TensorType, str], Product] = {}
        self._to_float: dict[TensorType, Any] = {}

    def cost(self, n: int) -> float:
        """See `Kernels.cost`."""
        return min(self._few * n, n + self._beside)

    def matmul(self, x: Floats, w: Matrix, out: Floats | None = None) -> Floats:
        """See `Kernels.matmul`."""
        few = self._repacked_from if w.kind is TensorType.Q4_0_8X8 else BLAS_FROM
        if len(x) >= few or w.kind in NOT_IN_GGML or not len(x) or not w.rows:
            return super().matmul(x, w, out)
        x = np.ascontiguousarray(x, np.float32)
        if out is None:
            out = np.empty((len(x), w.rows), np.float32)
        product, into = self.product(w.kind), out.ctypes.data  # its rows may lie apart
        product(w.address, w.rows, w.cols, w.stride, address_of(x), len(x), into, out.strides[0])
        return out

    def wants_repacked(self, n: int) -> bool:
        """See `Kernels.wants_repacked`."""
        return self.repacks and n < self._repacked_from

    def product(self, kind: TensorType, use: str = "") -> Product:
        """What multiplies matrices of a type, by addresses. One for each `use`, because a change of shape
        costs a microsecond.
        """
        product = self._products.get((kind, use))
        if product is None:
            if kind is TensorType.Q4_0_8X8:
                assert self._repacked is not None
                product = repacked_abi.RepackedProduct(self._repacked)
            else:
                product = ggml_abi.Product(self.context, kind, LAYOUTS[kind].weights)
            self._products[kind, use] = product
        return product

    def floats(self, w: Matrix) -> Floats:
        """See `Kernels.floats`."""
        if w.kind in NOT_IN_GGML or w.kind is TensorType.F32:
            return super().floats(w)
        w = w.plain()
        to_float = self._to_float.get(w.kind)
        if to_float is None:
            to_float = self._to_float[w.kind] = self.context.library.to_float(w.kind)
        room = self._room(w.rows * w.cols)
        data = np.ascontiguousarray(w.data)
        to_float(data.ctypes.data, address_of(room), len(room))
        return room.reshape(w.rows, w.cols)


@functools.cache
def _works(interface: str, library: str) -> bool:
    command = [sys.executable, "-I", "-S", interface, library]
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


def find_repacked() -> Path | None:
    """The newer ggml that multiplies interleaved rows; None where there is none for this processor."""
    flags = processor.flags()
    if platform.system() != "Linux" or flags is None or not {"avx2", "fma", "f16c", "bmi2"} <= flags:
        return None
    spec = find_spec("pywhispercpp")
    if spec is None or not spec.origin:
        return None
    libraries = Path(spec.origin).parent.parent / "pywhispercpp.libs"
    return next(iter(sorted(libraries.glob("libggml-cpu-*.so*"))), None)


def _suffix() -> str:
    return {"Darwin": ".dylib", "Windows": ".dll"}.get(platform.system(), ".so")


def _builds(system: str, machine: str) -> tuple[str, ...]:
    """Folders worth trying, the fastest first."""
    if machine in {"x86_64", "amd64"}:
        flags = processor.flags()
        if flags is None:
            return ("avx2", "avx", "basic")
        builds = [("avx2", {"avx2", "fma", "f16c"}), ("avx", {"avx", "f16c"})]
        return (*(name for name, needs in builds if needs <= flags), "basic")
    return ("basic",) if system == "Darwin" else ()
