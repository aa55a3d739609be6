"""From a file to a decoder: the steps that every rank of an engine takes alike."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smallchat.engine.ranks.memory import Handles
from smallchat.errors import ModelError
from smallchat.experts.cache import CachedExperts
from smallchat.experts.direct import BLOCK, ChangedError, DirectFile, ShortReadError
from smallchat.experts.layout import ExpertLayout
from smallchat.experts.mapped import MappedExperts, Repacking, Room
from smallchat.kernels.quants import TensorType
from smallchat.kernels.repack import ROWS, repack
from smallchat.model.config import ModelConfig, read_config
from smallchat.model.gguf import DAMAGED, GgufFile, TensorInfo
from smallchat.model.share import Share
from smallchat.model.weights import ExpertMatrices, Weights, read_weights
from smallchat.sharing import SharedBytes

Bytes = npt.NDArray[np.uint8]
OwnExperts = MappedExperts[ExpertMatrices] | CachedExperts[ExpertMatrices]
"""What the first rank has: it knows what is where."""

PIECE = 8 << 20
"""Bytes of a read of dense weights."""
_ATTENTION = ("q", "k", "v", "qkv", "output")


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A file whose header was read and checked. Weights are read when they are first used, or lie in `image`:
    memory of the ranks' own, in which they have the same places as in the file.
    """

    gguf: GgufFile
    config: ModelConfig
    weights: Weights
    layout: ExpertLayout
    image: SharedBytes | None = None

    def wrap(self, layer: int, gate: Bytes, up: Bytes, down: Bytes) -> ExpertMatrices:
        """One expert's matrices over its bytes."""
        return self.weights.layers[layer].expert(gate, up, down)

    def mapped(self, share: Share, repack: bool) -> MappedExperts[ExpertMatrices]:
        """Experts that the mapped file serves; with `repack`, they move to `image`, where their types allow
        it, in time. Every rank calls it, and brings there its share of what else lies in `image`.
        """
        room = None
        if self.image is not None:
            self._fill(self.image, share)
            if repack:
                held = np.frombuffer(self.image.map, np.uint8)
                at, experts = _rounded(self.gguf.size), self.config.layers * self.config.experts
                room = Room(self._repacking(), held, held[at : at + experts], self.gguf.let_go)
        return MappedExperts(self.gguf.whole(), self.layout, self.wrap, room)

    def _repacking(self) -> Repacking[ExpertMatrices]:
        layers = self.weights.layers

        def made(layer: int, parts: Sequence[Bytes]) -> list[Bytes]:
            tensors = layers[layer].gate, layers[layer].up, layers[layer].down
            return [tensor.repack(part) for tensor, part in zip(tensors, parts, strict=True)]

        def wrap(layer: int, gate: Bytes, up: Bytes, down: Bytes) -> ExpertMatrices:
            return layers[layer].expert(gate, up, down, repacked=True)

        can = frozenset(index for index, layer in enumerate(layers) if layer.repackable)
        return Repacking(can, made, wrap)

    def _fill(self, image: SharedBytes, share: Share) -> None:
        file, held = self.gguf.whole(), np.frombuffer(image.map, np.uint8)
        tensors = _repackable(self.gguf, self.config)
        for tensor in tensors[slice(*share.span(len(tensors)))]:
            rows, into = (
                data[tensor.offset : tensor.offset + tensor.size].reshape(tensor.shape[0], -1)
                for data in (file, held)
            )
            into[:] = repack(rows)
        self.gguf.let_go(0, self.gguf.size)

    def close(self) -> None:
        """Let go of the file and the memory."""
        self.gguf.close()
        if self.image is not None:
            self.image.close()


def open_model(
    path: str | Path, vocabulary: bool = True, image: Handles | None = None, repacked: bool = False
) -> OpenModel:
    """Open a GGUF; without `vocabulary` its texts are passed over. `image` is that of another rank, in which
    rows are interleaved where they can be if `repacked`.

    Raises `ModelError`, with none open.
    """
    gguf = GgufFile(path, skip=() if vocabulary else ("tokenizer.",))
    try:
        config = read_config(gguf)
        shared = None
        if image is not None:
            shared = SharedBytes(_image_bytes(gguf, config), image.image)
            _lie_in(gguf, config, shared, dense=image.slab is not None, repacked=repacked)
        weights = read_weights(gguf, config)
    except BaseException:
        gguf.close()
        raise
    parts, kinds = [], []
    for layer in weights.layers:
        tensors = (layer.gate, layer.up, layer.down)
        parts.append(tuple((tensor.info.offset, tensor.stride) for tensor in tensors))
        kinds.append(tuple(tensor.info.kind for tensor in tensors))
    return OpenModel(gguf, config, weights, ExpertLayout(config.experts, parts, kinds), shared)


def hold_dense(model: OpenModel, repacked: bool) -> OpenModel:
    """Read what every token needs into memory of our own, `repacked` where it can be: nothing of it is left
    to the page cache, nor to a mapping that dies when the file is cut.

    Raises `ModelError` where it cannot be read.
    """
    gguf, config = model.gguf, model.config
    if model.image is not None:
        model.image.close()
    try:
        image = _read_dense(gguf, config)
    except (OSError, ShortReadError, ChangedError) as error:
        reason = getattr(error, "strerror", None) or "it was changed meanwhile"
        raise ModelError(f"{gguf.path} cannot be read: {reason}", DAMAGED) from None
    if repacked:
        held = np.frombuffer(image.map, np.uint8)
        for tensor in _repackable(gguf, config):
            rows = held[tensor.offset : tensor.offset + tensor.size].reshape(tensor.shape[0], -1)
            rows[:] = repack(rows)
    _lie_in(gguf, config, image, dense=True, repacked=repacked)
    gguf.want_rows()
    return replace(model, weights=read_weights(gguf, config), image=image)


def _read_dense(gguf: GgufFile, config: ModelConfig) -> SharedBytes:
    with closing(DirectFile(gguf.path)) as file, ExitStack() as failed:
        image = SharedBytes(_image_bytes(gguf, config))
        failed.callback(image.close)
        view = memoryview(image.map)
        for start, stop in _ranges(gguf, _dense(gguf)):
            for at in range(start, stop, PIECE):
                end = min(at + PIECE, stop)
                file.read(view[at:end], at, min(end, gguf.size) - at)
        failed.pop_all()
        return image


def place_repacked(model: OpenModel) -> OpenModel:
    """Give what can be repacked a place in memory of our own, which the ranks fill (`OpenModel.mapped`); the
    rest stays in the mapped file.

    Raises `ModelError` where there is no such memory.
    """
    gguf, config = model.gguf, model.config
    if not _repackable(gguf, config) and not any(layer.repackable for layer in model.weights.layers):
        return model
    try:
        image = SharedBytes(_image_bytes(gguf, config))
    except OSError as error:
        raise ModelError(f"There is no memory for {gguf.path}: {error.strerror}", "Close something") from None
    _lie_in(gguf, config, image, dense=False, repacked=True)
    return replace(model, weights=read_weights(gguf, config), image=image)


def _image_bytes(gguf: GgufFile, config: ModelConfig) -> int:
    """Those of the file, in whole blocks, and one for each expert: whether it lies there."""
    return _rounded(gguf.size) + config.layers * config.experts


def _lie_in(gguf: GgufFile, config: ModelConfig, image: SharedBytes, dense: bool, repacked: bool) -> None:
    kinds = {tensor.name: TensorType.Q4_0_8X8 for tensor in _repackable(gguf, config)} if repacked else {}
    names = _dense(gguf) if dense else frozenset(kinds)
    gguf.lie_in(np.frombuffer(image.map, np.uint8), names, kinds)


def _repackable(gguf: GgufFile, config: ModelConfig) -> list[TensorInfo]:
    """Tensors of which a token takes all rows, and of which every rank's share is whole groups of rows."""
    if config.head_size % ROWS or config.hidden % ROWS:
        return []
    names = [f"blk.{layer}.attn_{part}.weight" for layer in range(config.layers) for part in _ATTENTION]
    found = [gguf.tensors[name] for name in names if name in gguf.tensors]
    return [tensor for tensor in found if tensor.kind in (TensorType.Q4_0, TensorType.Q4_0_8X8)]


def _dense(gguf: GgufFile) -> frozenset[str]:
    """Tensors that every token reads. Of an embedding that is not the head too, a token reads one row."""
    names = {name for name in gguf.tensors if not name.endswith("_exps.weight")}
    if "output.weight" in gguf.tensors:
        names.discard("token_embd.weight")
    return frozenset(names)


def _ranges(gguf: GgufFile, names: frozenset[str]) -> Iterator[tuple[int, int]]:
    """The blocks of the file that hold these tensors, from and to, neighbours as one."""
    first = last = 0
    for tensor in sorted((gguf.tensors[name] for name in names), key=lambda tensor: tensor.offset):
        start, stop = tensor.offset // BLOCK * BLOCK, _rounded(tensor.offset + tensor.size)
        if start > last:
            if last > first:
                yield first, last
            first = start
        last = max(last, stop)
    if last > first:
        yield first, last


def _rounded(size: int) -> int:
    step = max(BLOCK, mmap.PAGESIZE)
    return -(-size // step) * step
