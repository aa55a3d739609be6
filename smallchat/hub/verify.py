"""Is a model file whole? Every tensor in its place, every scale a number, the checksum the hub's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smallchat.errors import ModelError
from smallchat.hub.fetch import sha256
from smallchat.kernels.quants import LAYOUTS, TensorType
from smallchat.model.config import read_config
from smallchat.model.gguf import DAMAGED, GgufFile, TensorInfo
from smallchat.model.weights import read_weights

Bytes = npt.NDArray[np.uint8]

PIECE = 16 << 20
"""Bytes looked at in one go."""

_SCALES: dict[TensorType, tuple[int, int, str]] = {
    # first byte, byte behind the last, and format of what scales a block's weights
    TensorType.F32: (0, 4, "<f4"),
    TensorType.F16: (0, 2, "<f2"),
    TensorType.Q4_0: (0, 2, "<f2"),
    TensorType.Q4_1: (0, 4, "<f2"),
    TensorType.Q5_0: (0, 2, "<f2"),
    TensorType.Q5_1: (0, 4, "<f2"),
    TensorType.Q8_0: (0, 2, "<f2"),
    TensorType.Q2_K: (80, 84, "<f2"),
    TensorType.Q3_K: (108, 110, "<f2"),
    TensorType.Q4_K: (0, 4, "<f2"),
    TensorType.Q5_K: (0, 4, "<f2"),
    TensorType.Q6_K: (208, 210, "<f2"),
}


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, all of it sound."""

    tensors: int
    size: int
    """Bytes of the file."""
    checksum: str | None
    """SHA-256 as the hub gave it; None: nobody told one for this file."""


def verify(path: Path, progress: Callable[[str, int, int], None]) -> Verified:
    """Read all of a file and look for damage. Raises `ModelError` that names the first damaged tensor.

    `progress` hears (stage, bytes done, bytes in all); what it raises ends the work.
    """
    gguf = GgufFile(path)
    try:
        read_weights(gguf, read_config(gguf))
        _apart(gguf)
        done = 0
        for tensor in gguf.tensors.values():
            _finite(gguf, tensor)
            done += tensor.size
            progress("Looking at the weights", done, gguf.size)
        tensors, size = len(gguf.tensors), gguf.size
    finally:
        gguf.close()
    expected = _checksum(path)
    if expected is not None:
        found = sha256(path, lambda done: progress("Adding up the checksum", done, size))
        if found != expected:
            raise ModelError(f"{path} is damaged: its checksum is not the one that the hub gave", DAMAGED)
    return Verified(tensors, size, expected)


def _apart(gguf: GgufFile) -> None:
    """No byte belongs to two tensors."""
    end, before = 0, ""
    for tensor in sorted(gguf.tensors.values(), key=lambda tensor: tensor.offset):
        if tensor.offset < end:
            what = f"{gguf.path} is damaged: the tensors {before!r} and {tensor.name!r} lie over each other"
            raise ModelError(what, DAMAGED)
        end, before = tensor.offset + tensor.size, tensor.name


def _finite(gguf: GgufFile, tensor: TensorInfo) -> None:
    """Every number that scales a block of weights is one: quantised weights are finite then."""
    size = LAYOUTS[tensor.kind].size
    blocks = gguf.bytes_of(tensor).reshape(-1, size)
    step = PIECE // size
    for start in range(0, len(blocks), step):
        if not _numbers(tensor.kind, blocks[start : start + step]):
            what = f"{gguf.path} is damaged: the tensor {tensor.name!r} holds what is no number"
            raise ModelError(what, DAMAGED)


def _numbers(kind: TensorType, blocks: Bytes) -> bool:
    if kind is TensorType.BF16:  # NumPy has no such type: all exponent bits set is what is no number
        return bool(((blocks.view("<u2") & 0x7F80) != 0x7F80).all())
    first, last, form = _SCALES[kind]
    return bool(np.isfinite(np.ascontiguousarray(blocks[:, first:last]).view(form)).all())


def _checksum(path: Path) -> str | None:
    """The hub's checksum: in its cache, a file's own name."""
    name = path.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else None
