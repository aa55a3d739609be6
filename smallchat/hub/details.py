"""What is inside a model file, as far as memory and speed depend on it; its weights stay unread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smallchat.experts.budget import PROGRAM_BYTES
from smallchat.hub.known import KnownModel
from smallchat.model.card import read_card
from smallchat.model.config import read_config
from smallchat.model.gguf import GgufFile
from smallchat.model.kv_cache import KVCache
from smallchat.model.weights import read_weights
from smallchat.settings import DEFAULT_CONTEXT, DEFAULT_KV


@dataclass(frozen=True, slots=True)
class Details:
    """Bytes by use, with the default context."""

    name: str
    quantisation: str
    transposed: bool
    """Down projections are stored transposed, as PowerInfer's engine wants them."""
    dense: int
    """What every token reads."""
    experts: int
    """All experts of all layers."""
    used_share: float
    """Share of the experts that one token uses."""
    layer_share: float
    """Share of the experts that must be in memory at the least: one a layer."""
    kv: int

    @property
    def memory(self) -> int:
        """Bytes that the model takes where all of it is in memory."""
        return self.dense + self.experts + self.kv + PROGRAM_BYTES

    @property
    def smallest_memory(self) -> int:
        """The smallest memory budget that works."""
        return self.dense + self.kv + PROGRAM_BYTES + round(self.experts * self.layer_share)

    @property
    def used(self) -> int:
        """Bytes of experts that one token reads."""
        return round(self.experts * self.used_share)


def of_file(path: Path) -> Details:
    """The details of a file. Raises `ModelError`."""
    gguf = GgufFile(path)
    try:
        config = read_config(gguf)
        weights = read_weights(gguf, config)
        context = min(DEFAULT_CONTEXT, config.context)
        return Details(
            name=read_card(gguf, config).name,
            quantisation=weights.quantisation,
            transposed=weights.layers[0].down_transposed,
            dense=weights.dense_bytes,
            experts=weights.expert_bytes,
            used_share=config.experts_used / config.experts,
            layer_share=1 / config.experts,
            kv=KVCache.bytes_for(config.windows, context, config.kv_heads, config.head_size, DEFAULT_KV),
        )
    finally:
        gguf.close()


def of_known(model: KnownModel) -> Details:
    """The details of a released model's Q4_0 file, which need not be here."""
    return Details(
        name=model.name,
        quantisation="Q4_0",
        transposed=False,
        dense=model.dense_bytes,
        experts=model.expert_bytes,
        used_share=model.experts_used / model.experts,
        layer_share=1 / model.experts,
        kv=KVCache.bytes_for(model.windows, DEFAULT_CONTEXT, model.kv_heads, model.head_size, DEFAULT_KV),
    )
