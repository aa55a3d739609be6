"""Float32 weights to the types of GGUF, and which tensor gets which.

The simple types by the `gguf` package (llama.cpp's own reference, in NumPy), K-quants by ggml where it runs.
"""

from __future__ import annotations

import ctypes as ct
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from smallchat.errors import KernelError, ModelError
from smallchat.kernels import choose
from smallchat.kernels.ggml import find_library
from smallchat.kernels.quants import LAYOUTS, TensorType, row_bytes
from smallchat.settings import UsageError

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

K_QUANTS = frozenset({TensorType.Q2_K, TensorType.Q3_K, TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K})
FILE_TYPES = {
    TensorType.F32: 0,
    TensorType.F16: 1,
    TensorType.Q4_0: 2,
    TensorType.Q4_1: 3,
    TensorType.Q8_0: 7,
    TensorType.Q5_0: 8,
    TensorType.Q5_1: 9,
    TensorType.Q2_K: 10,
    TensorType.Q3_K: 11,
    TensorType.Q4_K: 14,
    TensorType.Q5_K: 16,
    TensorType.Q6_K: 18,
    TensorType.BF16: 32,
}
"""`general.file_type` of a file of mostly this type (llama.cpp's numbers)."""


def parse_type(name: str) -> TensorType:
    """The type called `name`, as "q4_0". Raises `UsageError`; `KernelError` where it cannot be made here."""
    kinds = {kind.name.lower(): kind for kind in FILE_TYPES}
    kind = kinds.get(name.lower())
    if kind is None:
        raise UsageError(f"There is no type {name[:40]!r}", f"Choose one of {', '.join(kinds)}")
    if kind in K_QUANTS:
        _quantise_k()
    return kind


def type_of(name: str, shape: tuple[int, ...], wanted: TensorType, head: bool) -> TensorType:
    """The type of one tensor in a file of `wanted`, as llama.cpp would choose.

    Norms and routers stay float32: a rounding there would swap one expert for another. The head (`head`; the
    embedding where both are one) gets Q6_K in a quantised file. Rows that fill no whole blocks get a type of
    smaller ones.
    """
    if len(shape) == 1 or "ffn_gate_inp" in name:
        return TensorType.F32
    candidates = [wanted]
    if head and wanted not in {TensorType.F32, TensorType.F16, TensorType.BF16, TensorType.Q8_0}:
        candidates = [TensorType.Q6_K] if _k_quants_here() else []
    for kind in (*candidates, TensorType.Q8_0):
        if shape[-1] % LAYOUTS[kind].weights == 0:
            return kind
    return TensorType.F16


def quantise(weights: Floats, kind: TensorType, name: str) -> Bytes:
    """float32 [rows, cols] → uint8 [rows, row bytes]. `name` is for errors.

    Raises `ModelError` where a weight is no number, or too large for the type.
    """
    if not np.isfinite(weights).all():
        raise ModelError(f"The tensor {name!r} holds what is no number", "Fetch the model again")
    if kind is TensorType.F32:
        return np.ascontiguousarray(weights, "<f4").view(np.uint8)
    if kind in K_QUANTS:
        out = np.empty((len(weights), row_bytes(kind, weights.shape[1])), np.uint8)
        source = np.ascontiguousarray(weights, np.float32)
        histogram = (ct.c_int64 * 16)()
        _quantise_k()(int(kind), source.ctypes.data, out.ctypes.data, 0, source.size, histogram)
        return out
    if kind is TensorType.F16:
        with np.errstate(over="ignore"):
            halves = weights.astype("<f2")
        if not np.isfinite(halves).all():
            raise ModelError(f"The tensor {name!r} has weights that are too large for f16", "Use bf16 or f32")
        return np.ascontiguousarray(halves).view(np.uint8)
    from gguf import GGMLQuantizationType, quants

    made: Bytes = quants.quantize(weights, GGMLQuantizationType(int(kind)))
    return np.ascontiguousarray(made).view(np.uint8).reshape(len(weights), -1)


def _k_quants_here() -> bool:
    try:
        _quantise_k()
    except KernelError:
        return False
    return True


@functools.cache
def _quantise_k() -> Any:
    """ggml's quantiser. Raises `KernelError` where there is none."""
    choose("ggml")  # tried in a process of its own, then set up here
    function = ct.CDLL(str(find_library())).ggml_quantize_chunk
    function.restype = ct.c_size_t
    function.argtypes = (
        *(ct.c_int, ct.c_void_p, ct.c_void_p),
        *(ct.c_int, ct.c_int, ct.POINTER(ct.c_int64)),
    )
    return function
