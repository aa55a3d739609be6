"""The numbers of one SmallThinker: read from a GGUF's metadata, checked for sense.

Keys: `smallthinker.*` (report section 2; the names are llama.cpp's). Nothing is taken on trust: a value that
would overflow, divide by zero or contradict another is a `ModelError` that names the key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from smallchat.errors import ModelError
from smallchat.model.gguf import DAMAGED, GgufFile

ARCHITECTURE = "smallthinker"
GLOBAL_EVERY = 4
"""Where a sliding window is used, every fourth layer, from the first, is global and without RoPE."""
LARGEST = 1 << 24
"""No dimension of a model is larger; a file that says so is damaged."""


class Gating(IntEnum):
    """What makes weights of the chosen experts' router logits; `expert_gating_func`."""

    SOFTMAX = 1
    SIGMOID = 2


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Dimensions and constants of a model."""

    layers: int
    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_size: int
    experts: int
    experts_used: int
    expert_width: int
    context: int
    """Tokens that the model was made for."""
    rms_epsilon: float
    rope_base: float
    rope_size: int
    """Dimensions of a head that RoPE turns: the first ones, in half-split pairs."""
    windows: tuple[int | None, ...]
    """For each layer: the sliding window in tokens, or None for global attention."""
    rotary: tuple[bool, ...]
    """For each layer: whether queries and keys get RoPE (the others are NoPE)."""
    gating: Gating
    notes: tuple[str, ...] = ()
    """What had to be guessed, each one sentence for the user."""

    @property
    def query_width(self) -> int:
        """Width of all query heads together; not always `hidden`."""
        return self.heads * self.head_size

    @property
    def kv_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_size


def read_config(gguf: GgufFile) -> ModelConfig:
    """The configuration of an open file. Raises `ModelError` where it is of another kind or wrong."""
    metadata = gguf.metadata
    architecture = metadata.get("general.architecture")
    if architecture != ARCHITECTURE:
        shown = repr(architecture)[:60]
        what = f"{gguf.path} is a model of architecture {shown}; smallchat runs {ARCHITECTURE}"
        raise ModelError(what, "Give a SmallThinker GGUF (4B or 21B)")
    keys = _Keys(gguf)
    layers = keys.count("block_count", limit=4096)
    heads, kv_heads = keys.count("attention.head_count"), keys.count("attention.head_count_kv")
    hidden = keys.count("embedding_length")
    head_size = keys.count("attention.key_length", default=hidden // heads)
    experts, used = keys.count("expert_count"), keys.count("expert_used_count")
    rope_size = keys.count("rope.dimension_count", default=head_size)
    keys.require(heads % kv_heads == 0, f"{heads} query heads do not share {kv_heads} KV heads evenly")
    keys.require(used <= experts, f"a token uses {used} of {experts} experts")
    keys.require(
        keys.count("attention.value_length", default=head_size) == head_size,
        "key and value heads differ in size",
    )
    keys.require(
        rope_size <= head_size and rope_size % 2 == 0,
        f"RoPE turns {rope_size} dimensions of heads of {head_size}",
    )
    embedding = gguf.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise ModelError(f"{gguf.path} has no usable tensor 'token_embd.weight'", DAMAGED)

    windows = _windows(keys, layers)
    gating, notes = _gating(keys, experts)
    base = keys.number("rope.freq_base", default=10000.0)
    if any(windows):
        # Only windowed layers turn when there is a window, and they may have a base of their own.
        base = keys.number("rope.freq_base_swa", default=base)
    return ModelConfig(
        layers=layers,
        hidden=hidden,
        vocabulary=embedding.shape[0],
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        experts=experts,
        experts_used=used,
        expert_width=keys.count("expert_feed_forward_length", default=keys.optional("feed_forward_length")),
        context=keys.count("context_length", limit=1 << 30),
        rms_epsilon=keys.number("attention.layer_norm_rms_epsilon", default=1e-6, smallest=0.0),
        rope_base=base,
        rope_size=rope_size,
        windows=windows,
        rotary=tuple(window is not None or not any(windows) for window in windows),
        gating=gating,
        notes=notes,
    )


def _windows(keys: _Keys, layers: int) -> tuple[int | None, ...]:
    window = keys.optional("attention.sliding_window")
    if window in (None, 0):
        return (None,) * layers
    window = keys.count("attention.sliding_window", limit=1 << 30)
    pattern = keys.optional("attention.sliding_window_pattern")
    if pattern is None:
        pattern = GLOBAL_EVERY
    if isinstance(pattern, list):
        keys.require(len(pattern) == layers, "sliding_window_pattern does not have one value a layer")
        sliding = [bool(value) for value in pattern]
    else:
        keys.require(
            isinstance(pattern, int) and 0 <= pattern <= LARGEST, f"sliding_window_pattern is {pattern!r}"
        )
        sliding = [pattern == 0 or layer % pattern != 0 for layer in range(layers)]
    return tuple(window if slides else None for slides in sliding)


def _gating(keys: _Keys, experts: int) -> tuple[Gating, tuple[str, ...]]:
    number = keys.optional("expert_gating_func")
    if number in (None, 0):
        # PowerInfer's own files lack the key: the 4B (32 experts) uses sigmoid, the 21B softmax.
        gating = Gating.SIGMOID if experts == 32 else Gating.SOFTMAX
        name = gating.name.lower()
        return gating, (
            f"The file does not name its router function; {name} is taken for {experts} experts.",
        )
    try:
        return Gating(number), ()
    except ValueError:
        raise keys.wrong(f"its router function has the unknown number {number!r}") from None


class _Keys:
    """Typed and bounded access to `smallthinker.*`."""

    def __init__(self, gguf: GgufFile) -> None:
        self._gguf = gguf

    def optional(self, key: str) -> Any:
        return self._gguf.metadata.get(f"{ARCHITECTURE}.{key}")

    def count(self, key: str, default: int | None = None, limit: int = LARGEST) -> int:
        """A whole number from 1 to `limit`."""
        value = self.optional(key)
        if value is None:
            value = default
        if value is None:
            raise self.wrong(f"the key {ARCHITECTURE}.{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
            raise self.wrong(f"{ARCHITECTURE}.{key} is {str(value)[:60]}")
        return value

    def number(self, key: str, default: float, smallest: float = 1e-6) -> float:
        """A finite number from `smallest` to 1e12."""
        value = self.optional(key)
        if value is None:
            value = default
        if not isinstance(value, int | float) or not math.isfinite(value) or not smallest <= value <= 1e12:
            raise self.wrong(f"{ARCHITECTURE}.{key} is {str(value)[:60]}")
        return float(value)

    def require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise self.wrong(otherwise)

    def wrong(self, what: str) -> ModelError:
        return ModelError(f"{self._gguf.path} cannot be used: {what}", DAMAGED)
