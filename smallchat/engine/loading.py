"""From a file to a decoder: the steps that every rank of an engine takes alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smallchat.experts.cache import CachedExperts
from smallchat.experts.layout import ExpertLayout
from smallchat.experts.mapped import MappedExperts
from smallchat.experts.store import ExpertStore
from smallchat.kernels import Kernels
from smallchat.model.config import ModelConfig, read_config
from smallchat.model.decoder import Decoder
from smallchat.model.gguf import GgufFile
from smallchat.model.team import Team
from smallchat.model.weights import ExpertMatrices, Weights, read_weights

Bytes = npt.NDArray[np.uint8]
AnyExperts = MappedExperts[ExpertMatrices] | CachedExperts[ExpertMatrices]


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A file whose header was read and checked; no weight was."""

    gguf: GgufFile
    config: ModelConfig
    weights: Weights
    layout: ExpertLayout


def open_model(path: str | Path, vocabulary: bool = True) -> OpenModel:
    """Open a GGUF; without `vocabulary` its texts are passed over. Raises `ModelError`, with none open."""
    gguf = GgufFile(path, skip=() if vocabulary else ("tokenizer.",))
    try:
        config = read_config(gguf)
        weights = read_weights(gguf, config)
    except BaseException:
        gguf.close()
        raise
    parts = [
        tuple((tensor.info.offset, tensor.stride) for tensor in (layer.gate, layer.up, layer.down))
        for layer in weights.layers
    ]
    return OpenModel(gguf, config, weights, ExpertLayout(config.experts, parts))


def make_decoder(
    model: OpenModel, kernels: Kernels, slots: Bytes | None, store: ExpertStore | None, team: Team | None
) -> tuple[Decoder, AnyExperts]:
    """One rank's decoder, and its experts. `slots`, uint8 [slots, bytes of one], are where experts within a
    budget lie, and `store` reads them, on the one rank that does; without slots the mapped file serves them.
    """
    weights = model.weights

    def wrap(layer: int, gate: Bytes, up: Bytes, down: Bytes) -> ExpertMatrices:
        return weights.layers[layer].expert(gate, up, down)

    experts: AnyExperts
    if slots is None:
        experts = MappedExperts(model.gguf.whole(), model.layout, wrap)
    else:
        experts = CachedExperts(store, model.layout, slots, wrap)
    return Decoder(model.config, weights, kernels, experts, team), experts
