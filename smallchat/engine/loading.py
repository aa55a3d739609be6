"""From a file to a decoder: the steps that every rank of an engine takes alike."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smallchat.engine.ranks.memory import Handles
from smallchat.errors import ModelError
from smallchat.experts.cache import CachedExperts
from smallchat.experts.direct import BLOCK, ChangedError, DirectFile, ShortReadError
from smallchat.experts.layout import ExpertLayout
from smallchat.experts.mapped import MappedExperts
from smallchat.model.config import ModelConfig, read_config
from smallchat.model.gguf import DAMAGED, GgufFile
from smallchat.model.weights import ExpertMatrices, Weights, read_weights
from smallchat.sharing import SharedBytes

Bytes = npt.NDArray[np.uint8]
OwnExperts = MappedExperts[ExpertMatrices] | CachedExperts[ExpertMatrices]
"""What the first rank has: it knows what is where."""

PIECE = 8 << 20
"""Bytes of a read of dense weights."""


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

    def mapped(self) -> MappedExperts[ExpertMatrices]:
        """Experts that the mapped file serves."""
        return MappedExperts(self.gguf.whole(), self.layout, self.wrap)

    def close(self) -> None:
        """Let go of the file and the memory."""
        self.gguf.close()
        if self.image is not None:
            self.image.close()


def open_model(path: str | Path, vocabulary: bool = True, image: Handles | None = None) -> OpenModel:
    """Open a GGUF; without `vocabulary` its texts are passed over. `image` is that of another rank.

    Raises `ModelError`, with none open.
    """
    gguf = GgufFile(path, skip=() if vocabulary else ("tokenizer.",))
    try:
        shared = None
        if image is not None:
            shared = SharedBytes(_rounded(gguf.size), image.image)
            gguf.lie_in(np.frombuffer(shared.map, np.uint8), _dense(gguf))
        config = read_config(gguf)
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


def hold_dense(model: OpenModel) -> OpenModel:
    """Read what every token needs into memory of our own: nothing of it is left to the page cache, nor to a
    mapping that dies when the file is cut.

    Raises `ModelError` where it cannot be read.
    """
    gguf = model.gguf
    names = _dense(gguf)
    try:
        file = DirectFile(gguf.path)
        try:
            image = SharedBytes(_rounded(gguf.size))
            view = memoryview(image.map)
            for start, stop in _ranges(gguf, names):
                for at in range(start, stop, PIECE):
                    end = min(at + PIECE, stop)
                    file.read(view[at:end], at, min(end, gguf.size) - at)
        finally:
            file.close()
    except (OSError, ShortReadError, ChangedError) as error:
        reason = getattr(error, "strerror", None) or "it was changed meanwhile"
        raise ModelError(f"{gguf.path} cannot be read: {reason}", DAMAGED) from None
    gguf.lie_in(np.frombuffer(image.map, np.uint8), names)
    return replace(model, weights=read_weights(gguf, model.config), image=image)


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
