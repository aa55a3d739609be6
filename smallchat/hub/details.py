"""What is inside a model file, as far as memory and speed depend on it; its weights stay unread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smallchat.engine.fitting import fitting_context
from smallchat.engine.loading import open_model
from smallchat.errors import ContextError
from smallchat.experts.budget import PROGRAM_BYTES, least_slots
from smallchat.experts.layout import ExpertLayout
from smallchat.experts.slab import slot_bytes
from smallchat.hub.known import KnownModel
from smallchat.model.card import read_card
from smallchat.model.kv_cache import KVCache
from smallchat.settings import DEFAULT_CONTEXT, DEFAULT_KV, KVType


@dataclass(frozen=True, slots=True)
class Details:
    """Bytes by use, with one context."""

    name: str
    quantisation: str
    transposed: bool
    """Down projections are stored transposed, as PowerInfer's engine wants them."""
    dense: int
    """What every token reads."""
    layout: ExpertLayout
    """How many experts there are, and how large; of a model that is not here, not where they lie."""
    experts_used: int
    """Experts of a layer that one token uses."""
    active_parameters: int
    """Weights that one token uses, without embedding and head."""
    context: int
    """Tokens that fit: those asked for, or the default."""
    wished: bool
    """They were asked for: a small budget makes them no fewer."""
    kv_size: Callable[[int], int]
    """Bytes of the KV cache for so many tokens."""

    @property
    def kv(self) -> int:
        """A full KV cache."""
        return self.kv_size(self.context)

    @property
    def experts(self) -> int:
        """All experts of all layers."""
        return self.layout.total_bytes

    @property
    def memory(self) -> int:
        """Bytes that the model takes where all of it is in memory."""
        return self.dense + self.experts + self.kv + PROGRAM_BYTES

    @property
    def smallest_memory(self) -> int:
        """The smallest memory budget that works with this context."""
        least = least_slots(self.layout.experts, self.experts_used) * slot_bytes(self.layout.largest_parts)
        return self.dense + self.kv + PROGRAM_BYTES + least

    @property
    def used(self) -> int:
        """Bytes of experts that one token reads."""
        return round(self.experts * self.experts_used / self.layout.experts)


def of_file(path: Path, context: int = DEFAULT_CONTEXT, kv: KVType = DEFAULT_KV) -> Details:
    """The details of a file. Raises `ModelError`, or `ContextError` where it was made for less context."""
    model = open_model(path, vocabulary=False)
    try:
        config, weights = model.config, model.weights
        card = read_card(model.gguf, config)
        fitting = fitting_context(context, config, path)
        return Details(
            name=card.name,
            quantisation=weights.quantisation,
            transposed=weights.layers[0].down_transposed,
            dense=weights.dense_bytes,
            layout=model.layout,
            experts_used=config.experts_used,
            active_parameters=card.active_parameters,
            context=fitting,
            wished=context != DEFAULT_CONTEXT,
            kv_size=_kv_size(config.windows, config.kv_heads, config.head_size, kv),
        )
    finally:
        model.gguf.close()


def of_known(model: KnownModel, context: int = DEFAULT_CONTEXT, kv: KVType = DEFAULT_KV) -> Details:
    """The details of a released model's Q4_0 file, which need not be here.

    Raises `ContextError` where it was made for less context.
    """
    if context > model.context:
        what = f"A context of {context} tokens is larger than that of {model.name}"
        raise ContextError(what, f"Give --context {model.context} or less")
    parts = ((0, model.matrix_bytes),) * 3
    return Details(
        name=model.name,
        quantisation="Q4_0",
        transposed=False,
        dense=model.dense_bytes,
        layout=ExpertLayout(model.experts, [parts] * model.layers),
        experts_used=model.experts_used,
        active_parameters=model.active_parameters,
        context=context,
        wished=context != DEFAULT_CONTEXT,
        kv_size=_kv_size(model.windows, model.kv_heads, model.head_size, kv),
    )


def _kv_size(windows: Sequence[int | None], heads: int, head_size: int, kv: KVType) -> Callable[[int], int]:
    return lambda tokens: KVCache.bytes_for(windows, tokens, heads, head_size, kv)
