"""Makes a GGUF: from a released folder of safetensors, or from a GGUF of another type.

Both go tensor by tensor and matrix by matrix: memory holds a few matrices, however large the model is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from smallchat.errors import ModelError
from smallchat.hub import gguf_writer, released
from smallchat.hub.gguf_writer import Planned
from smallchat.hub.quantise import FILE_TYPES, quantise, type_of
from smallchat.hub.safetensors import CURE, Folder
from smallchat.kernels.quants import TensorType, dequantise, row_bytes
from smallchat.model.config import read_config
from smallchat.model.gguf import GgufFile, TensorInfo
from smallchat.model.weights import read_weights
from smallchat.settings import UsageError

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]

PIECE = 4 << 20
"""Weights that are converted in one go: 16 MB as float32."""

_DENSE = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "block_sparse_moe.primary_router": "ffn_gate_inp",
}
"""Names of a layer's tensors, released and in GGUF. The experts' are put together, one behind the other."""


class Matrices(Protocol):
    """A tensor as matrices of one shape, one behind the other."""

    shape: tuple[int, ...]

    def rows(self, matrix: int, start: int, stop: int) -> Floats:
        """Rows of one of them, float32 [stop − start, cols]."""


def convert(folder: Path, out: Path, kind: TensorType, transpose_down: bool, progress: Progress) -> None:
    """Write the released folder as a GGUF of `kind` (see `quantise.type_of` for the exceptions).

    `transpose_down` stores down projections as [experts, ff, d], for sparse use. Stopped, the same call goes
    on. Raises `ModelError` or `UsageError`.
    """
    source = Folder(folder)
    shapes = released.shapes(source)
    tensors = _released_tensors(source, shapes)
    _refuse_square((shapes.hidden, shapes.expert_width), transpose_down)
    entries = released.metadata(source, FILE_TYPES[kind])
    tied = "output.weight" not in tensors
    planned = [_planned(name, m, kind, transpose_down, _is_head(name, tied)) for name, m in tensors.items()]
    gguf_writer.write(out, entries, planned, source.fingerprint, progress)
    _prove(out)


def requantise(path: Path, out: Path, kind: TensorType, transpose_down: bool, progress: Progress) -> None:
    """Write the GGUF at `path` as one of `kind`. Tensors that have their type already are copied.

    Raises `ModelError`, or `UsageError` where `out` is the file itself.
    """
    gguf = GgufFile(path)
    try:
        if out.exists() and out.samefile(path):
            raise UsageError(f"{out} is the file to read", "Give another name to write to")
        weights = read_weights(gguf, read_config(gguf))
        transposed = weights.layers[0].down_transposed
        _refuse_square(weights.layers[0].down.info.shape, transpose_down)
        del weights
        tied = "output.weight" not in gguf.tensors
        planned = []
        for name, info in gguf.tensors.items():
            turn = transpose_down and not transposed
            target = type_of(name, _turned(name, info.shape, turn), kind, _is_head(name, tied))
            if len(info.shape) == 1:
                target = info.kind  # norms, and what only another engine knows
            if target is info.kind and not (turn and _is_down(name)):
                planned.append(Planned(name, target, info.shape, partial(_copied, path, info)))
            else:
                planned.append(_planned(name, _GgufMatrices(path, info), kind, turn, _is_head(name, tied)))
        entries = [
            gguf_writer.u32("general.file_type", FILE_TYPES[kind])
            if key == "general.file_type"
            else gguf.entry(key)
            for key in gguf.spans
            if key != "general.alignment"
        ]
        state = path.stat()
        source = json.dumps([str(path.resolve()), state.st_size, state.st_mtime_ns])
    finally:
        gguf.close()
    gguf_writer.write(out, entries, planned, source, progress)
    _prove(out)


def _prove(path: Path) -> None:
    """What was written can be read. Raises `ModelError`."""
    gguf = GgufFile(path)
    try:
        read_weights(gguf, read_config(gguf))
    finally:
        gguf.close()


def _planned(name: str, matrices: Matrices, wanted: TensorType, turn: bool, head: bool) -> Planned:
    shape = _turned(name, matrices.shape, turn)
    kind = type_of(name, shape, wanted, head)
    return Planned(name, kind, shape, partial(_pieces, name, matrices, kind, turn and _is_down(name)))


def _pieces(name: str, matrices: Matrices, kind: TensorType, turn: bool) -> Iterator[Bytes]:
    """The bytes of a tensor: its matrices whole where they are turned, else so many rows at a time."""
    count = math.prod(matrices.shape[:-2])
    rows, cols = matrices.shape[-2:] if len(matrices.shape) > 1 else (1, matrices.shape[0])
    step = rows if turn else max(1, PIECE // cols)
    for matrix in range(count):
        for start in range(0, rows, step):
            weights = matrices.rows(matrix, start, min(start + step, rows))
            yield quantise(np.ascontiguousarray(weights.T) if turn else weights, kind, name)


def _copied(path: Path, info: TensorInfo) -> Iterator[Bytes]:
    for start in range(0, info.size, 4 * PIECE):
        yield _read(path, info.offset + start, min(info.size - start, 4 * PIECE))


def _read(path: Path, start: int, size: int) -> Bytes:
    """`size` bytes of the file to convert. Raises `ModelError`, as the disk to write to is not at fault."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(size)
    except OSError as error:
        cure = "See that its disk is there, then give the same command again: it goes on"
        raise ModelError(f"{path} cannot be read: {error.strerror or error}", cure) from None
    if len(data) != size:
        raise ModelError(f"{path} ended while it was read", "It was changed or cut: start again")
    return np.frombuffer(data, np.uint8)


class _GgufMatrices:
    """A tensor of a GGUF, read and not mapped: mapped pages would count as memory."""

    def __init__(self, path: Path, info: TensorInfo) -> None:
        self._path, self._info, self.shape = path, info, info.shape

    def rows(self, matrix: int, start: int, stop: int) -> Floats:
        cols = self.shape[-1]
        row = row_bytes(self._info.kind, cols)
        first = self._info.offset + (matrix * (self.shape[-2] if len(self.shape) > 1 else 1) + start) * row
        data = _read(self._path, first, (stop - start) * row)
        return dequantise(self._info.kind, data.reshape(stop - start, row))


class _SafeMatrices:
    """One tensor of a released folder, or the experts' tensors as one."""

    def __init__(self, folder: Folder, names: list[str], shape: tuple[int, ...]) -> None:
        self._folder, self._names, self.shape = folder, names, shape

    def rows(self, matrix: int, start: int, stop: int) -> Floats:
        return self._folder.read(self._names[matrix], start, stop)


def _released_tensors(folder: Folder, shapes: released.Shapes) -> dict[str, Matrices]:
    """All tensors under their GGUF names, held against the config; nothing may be missing or left over."""
    d, ff = shapes.hidden, shapes.expert_width
    query, kv = shapes.heads * shapes.head_size, shapes.kv_heads * shapes.head_size
    dense = {
        "attn_norm": (d,),
        "attn_q": (query, d),
        "attn_k": (kv, d),
        "attn_v": (kv, d),
        "attn_output": (d, query),
        "ffn_norm": (d,),
        "ffn_gate_inp": (shapes.experts, d),
    }
    left = {name for name in folder.tensors if not name.endswith("rotary_emb.inv_freq")}
    made: dict[str, Matrices] = {}

    def take(
        ours: str, names: list[str], each: tuple[int, ...], whole: tuple[int, ...] | None = None
    ) -> None:
        for name in names:
            stored = folder.tensors.get(name)
            if stored is None or stored.shape != each:
                found = "is missing" if stored is None else f"is {stored.shape}, the config says {each}"
                raise ModelError(f"{folder.path} cannot be converted: the tensor {name!r} {found}", CURE)
            left.discard(name)
        made[f"{ours}.weight"] = _SafeMatrices(folder, names, whole or each)

    take("token_embd", ["model.embed_tokens.weight"], (shapes.vocabulary, d))
    take("output_norm", ["model.norm.weight"], (d,))
    if "lm_head.weight" in folder.tensors or not shapes.tied:
        take("output", ["lm_head.weight"], (shapes.vocabulary, d))
    for layer in range(shapes.layers):
        theirs, ours = f"model.layers.{layer}.", f"blk.{layer}."
        for released_name, name in _DENSE.items():
            take(ours + name, [f"{theirs}{released_name}.weight"], dense[name])
        for part in ("gate", "up", "down"):
            names = [f"{theirs}block_sparse_moe.experts.{e}.{part}.weight" for e in range(shapes.experts)]
            each = (d, ff) if part == "down" else (ff, d)
            take(f"{ours}ffn_{part}_exps", names, each, (shapes.experts, *each))
    if left:
        what = f"{folder.path} cannot be converted: {len(left)} tensors are unknown, as {min(left)!r}"
        raise ModelError(what, "Only SmallThinker models as they were released are converted")
    return made


def _is_head(name: str, tied: bool) -> bool:
    return name == ("token_embd.weight" if tied else "output.weight")


def _is_down(name: str) -> bool:
    return name.endswith("ffn_down_exps.weight")


def _refuse_square(shape: tuple[int, ...], turn: bool) -> None:
    """A reader tells by the shape whether down projections are transposed: it must tell."""
    if turn and shape[-1] == shape[-2]:
        what = "This model's down projections are square, so nobody could see that they are transposed"
        raise UsageError(what, "Leave --transpose-down out")


def _turned(name: str, shape: tuple[int, ...], turn: bool) -> tuple[int, ...]:
    return (*shape[:-2], shape[-1], shape[-2]) if turn and _is_down(name) else shape
