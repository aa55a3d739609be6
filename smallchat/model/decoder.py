"""The forward pass of SmallThinker, as in figure 2 of the report: router, attention, experts.

    for each layer:   route = router(x)                          from the raw residual x
                      x = x + attention(rmsnorm(x))
                      x = x + experts(rmsnorm(x), route)
    logits = head(rmsnorm(x))

It computes through `Kernels` and fetches experts through `Experts`: whatever stands behind those, this is the
one place that says what is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from smallchat.kernels import Kernels
from smallchat.model.attention import Rotation, attend
from smallchat.model.config import ModelConfig
from smallchat.model.kv_cache import KVCache, LayerCache
from smallchat.model.router import Route, route
from smallchat.model.weights import ExpertMatrices, LayerWeights, Weights

Floats = npt.NDArray[np.float32]

LayerHook = Callable[[int, npt.NDArray[np.int64]], None]
"""Called at each layer's entry with its number and the experts, int64 [n, k]; may raise to give up."""


class Experts(Protocol):
    """Where experts come from; `smallchat.experts` has the kinds."""

    def expect(self, layer: int, experts: Sequence[int]) -> None:
        """These will be asked for, in this order: exact, and known before attention is computed."""

    def fetch(self, layer: int, expert: int) -> ExpertMatrices:
        """Gate, up and down of one expert; valid until the next call."""


class Decoder:
    """One model ready to compute."""

    def __init__(self, config: ModelConfig, weights: Weights, kernels: Kernels, experts: Experts) -> None:
        self.config, self.weights, self.kernels, self.experts = config, weights, kernels, experts

    # Where a file holds numbers that are none, the sampler says so; NumPy's warnings would only precede it.
    @np.errstate(all="ignore")
    def forward(
        self,
        ids: npt.NDArray[np.int64],
        cache: KVCache,
        every: bool = False,
        on_layer: LayerHook | None = None,
    ) -> Floats:
        """Feed tokens behind those in `cache`, which then holds them too.

        `ids` is int64 [n], n ≥ 1, and fits what is left of the context. Returns logits: float32 [n, V] for
        `every` position, else [1, V] for the last.
        """
        config, start = self.config, cache.length
        positions = np.arange(start, start + len(ids))
        rotation = Rotation.at(positions, config.rope_size, config.rope_base)
        cache.wrote(start + len(ids))
        x: Floats = self.weights.embedding.take(ids)  # [n, d]
        for index, layer in enumerate(self.weights.layers):
            chosen = route(x, layer.router, config.experts_used, config.gating)
            if on_layer is not None:
                on_layer(index, chosen.experts)
            needed = np.unique(chosen.experts).tolist()
            self.experts.expect(index, needed)
            normed = self.norm(x, layer.attention_norm)
            turn = rotation if config.rotary[index] else None
            x += self.attention(normed, layer, start, turn, cache.layers[index])
            normed = self.norm(x, layer.feed_forward_norm)
            x += self.feed_forward(normed, index, layer, chosen, needed)
        cache.length = start + len(ids)
        last = x if every else x[-1:]
        return self.kernels.matmul(self.norm(last, self.weights.output_norm), self.weights.head)

    def norm(self, x: Floats, scale: Floats) -> Floats:
        """x / √(mean(x²) + ε) · scale, over the last axis."""
        mean: Floats = np.add.reduce(x * x, axis=-1, keepdims=True)
        mean /= np.float32(x.shape[-1])
        mean += np.float32(self.config.rms_epsilon)
        normed: Floats = np.divide(x, np.sqrt(mean), dtype=np.float32)
        normed *= scale
        return normed

    def attention(
        self, x: Floats, layer: LayerWeights, start: int, rotation: Rotation | None, cache: LayerCache
    ) -> Floats:
        """Wo attend(Wq x, Wk x, Wv x): [n, d] → [n, d]. `rotation` is None in NoPE layers."""
        n, size = len(x), self.config.head_size
        q = self.kernels.matmul(x, layer.q).reshape(n, -1, size)
        k = self.kernels.matmul(x, layer.k).reshape(n, -1, size)
        v = self.kernels.matmul(x, layer.v).reshape(n, -1, size)
        if rotation is not None:
            q, k = rotation.turn(q), rotation.turn(k)
        return self.kernels.matmul(attend(q, k, v, start, cache), layer.output)

    def feed_forward(
        self, x: Floats, index: int, layer: LayerWeights, chosen: Route, needed: Sequence[int]
    ) -> Floats:
        """Σ weight · Wdown (relu(Wgate x) · (Wup x)) over each token's experts: [n, d] → [n, d].

        Expert by expert, in order of their numbers, so that each is fetched once and a token's sum does not
        depend on the tokens beside it.
        """
        matmul = self.kernels.matmul
        down_matmul = self.kernels.matmul_transposed if layer.down_transposed else matmul
        out = np.zeros_like(x)
        for expert in needed:
            tokens, slots = np.nonzero(chosen.experts == expert)
            gate, up, down = self.experts.fetch(index, expert)
            inputs = x[tokens]
            hidden = np.maximum(matmul(inputs, gate), 0)
            hidden *= matmul(inputs, up)
            out[tokens] += chosen.weights[tokens, slots, None] * down_matmul(hidden, down)
        return out
