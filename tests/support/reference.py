"""SmallThinker's forward pass, as slow and as plain as the report's formulas, in float64.

One token after the other, one head after the other, one expert after the other; nothing is shared with the
package. It is what every decoder here is measured against.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Weights = Mapping[str, np.ndarray]
"""Name (without ".weight") to a float64 array: `token_embd` [V,d], `blk.0.attn_q` [H*head,d], … and without
`output` where the head is tied. Never fused, never transposed."""


@dataclass(frozen=True)
class Shape:
    """What a model is, beside its weights."""

    layers: int
    heads: int
    kv_heads: int
    head: int
    used: int
    router: Literal["sigmoid", "softmax"]
    theta: float
    eps: float
    rope: tuple[bool, ...]
    """For each layer: is the position turned into the heads?"""
    window: tuple[int | None, ...]
    """For each layer: how many tokens it sees, itself included; None: all."""
    rope_dims: int
    """Only the first so many numbers of a head are turned."""


def rmsnorm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / math.sqrt(sum(float(v) ** 2 for v in x) / len(x) + eps) * weight


def turned(head: np.ndarray, position: int, shape: Shape) -> np.ndarray:
    """Rotary position: number i turns with number i + n/2, by position * theta^(-2i/n)."""
    out = head.copy()
    n = shape.rope_dims
    for i in range(n // 2):
        angle = position * shape.theta ** (-2 * i / n)
        a, b = head[i], head[i + n // 2]
        out[i] = a * math.cos(angle) - b * math.sin(angle)
        out[i + n // 2] = a * math.sin(angle) + b * math.cos(angle)
    return out


def gates(chosen: Sequence[float], router: str) -> list[float]:
    if router == "sigmoid":
        raw = [1 / (1 + math.exp(-g)) for g in chosen]
    else:
        top = max(chosen)
        raw = [math.exp(g - top) for g in chosen]
    return [r / sum(raw) for r in raw]


def logits(weights: Weights, shape: Shape, tokens: Sequence[int]) -> np.ndarray:
    """float64 [len(tokens), vocabulary]: what the model says after each token."""
    # For each layer and position: [kv_heads, head].
    keys: list[list[np.ndarray]] = [[] for _ in range(shape.layers)]
    values: list[list[np.ndarray]] = [[] for _ in range(shape.layers)]
    rows = []
    for position, token in enumerate(tokens):
        x = weights["token_embd"][token].copy()
        for layer in range(shape.layers):
            w = {name: weights[f"blk.{layer}.{name}"] for name in LAYER}
            x = _layer(w, shape, layer, position, x, keys[layer], values[layer])
        final = rmsnorm(x, weights["output_norm"], shape.eps)
        rows.append(weights.get("output", weights["token_embd"]) @ final)
    return np.array(rows)


LAYER = (
    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
    *("ffn_norm", "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"),
)


def _layer(w, shape, layer, position, x, keys, values):
    router = w["ffn_gate_inp"] @ x  # from the raw residual, before norm and attention
    chosen = sorted(range(len(router)), key=lambda e: -router[e])[: shape.used]

    a = rmsnorm(x, w["attn_norm"], shape.eps)
    q = (w["attn_q"] @ a).reshape(shape.heads, shape.head)
    k = (w["attn_k"] @ a).reshape(shape.kv_heads, shape.head)
    v = (w["attn_v"] @ a).reshape(shape.kv_heads, shape.head)
    if shape.rope[layer]:
        q = np.array([turned(head, position, shape) for head in q])
        k = np.array([turned(head, position, shape) for head in k])
    keys.append(k)
    values.append(v)
    window = shape.window[layer]
    first = 0 if window is None else max(0, position - window + 1)
    heads = []
    for h in range(shape.heads):
        group = h // (shape.heads // shape.kv_heads)
        scores = np.array([keys[j][group] @ q[h] for j in range(first, position + 1)]) / math.sqrt(shape.head)
        share = np.exp(scores - scores.max())
        share /= share.sum()
        seen = [values[j][group] for j in range(first, position + 1)]
        heads.append(sum(s * value for s, value in zip(share, seen, strict=True)))
    y = x + w["attn_output"] @ np.concatenate(heads)

    b = rmsnorm(y, w["ffn_norm"], shape.eps)
    out = y.copy()
    for expert, weight in zip(chosen, gates([router[e] for e in chosen], shape.router), strict=True):
        gate = np.maximum(w["ffn_gate_exps"][expert] @ b, 0)
        up = w["ffn_up_exps"][expert] @ b
        out += weight * (w["ffn_down_exps"][expert] @ (gate * up))
    return out
