"""SmallThinker as a PyTorch module, small enough to train on two processor cores.

The formulas are those of the technical report: the router reads the raw residual at the entry of a layer
(before the norm and before attention), its softmax runs over the chosen k experts only, layers 0, 4, 8, ...
see everything and carry no position (NoPE), the others rotate (RoPE) and see a sliding window, the experts
are ReGLU, nothing has a bias, and the head is the embedding.

Shapes in comments: B sequences of T tokens, d hidden, H query heads, KV key heads, h head size, E experts,
k chosen experts, F expert width, V vocabulary, N = B*T.
"""

from __future__ import annotations

# mypy: allow-subclassing-any
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a model. The defaults are those of the built-in model."""

    vocab: int = 2048
    layers: int = 6
    d: int = 192
    heads: int = 6
    kv_heads: int = 2
    head_size: int = 32
    experts: int = 16
    chosen: int = 2
    ff: int = 64
    window: int = 128
    global_every: int = 4
    rope_base: float = 10000.0
    eps: float = 1e-6
    context: int = 1024

    def is_global(self, layer: int) -> bool:
        """Whether a layer sees the whole context and leaves positions out."""
        return layer % self.global_every == 0

    def to_dict(self) -> dict[str, Any]:
        """The sizes as plain values, for a checkpoint."""
        return asdict(self)


def rope_tables(config: ModelConfig, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [length, h/2] float32 of positions 0..length-1 (pairs i, i + h/2)."""
    half = config.head_size // 2
    inverse = config.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * inverse[None, :]
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE on x [B, heads, T, h] with tables [T, h/2]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def windowed(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Causal attention over the last `window` positions; q, k, v and the result [B, H, T, h], T > window.

    Queries go in blocks of one window, each against its own block of keys and the one before: the masked
    product over all T keys would compute, and pay for, what it then throws away.
    """
    b, heads, length, size = q.shape
    short = -length % window
    q, k, v = (F.pad(part, (0, 0, 0, short)) for part in (q, k, v))
    n = (length + short) // window

    def blocks(part: Tensor) -> Tensor:
        return part.view(b, heads, n, window, size).transpose(1, 2)

    def with_previous(part: Tensor) -> Tensor:
        own = blocks(part)
        return torch.cat((F.pad(own[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0)), own), dim=3).flatten(0, 1)

    i, j = torch.arange(window)[:, None], torch.arange(2 * window)[None, :] - window
    visible = ((j <= i) & (i - j < window)).expand(n, window, 2 * window).clone()
    visible[0, :, :window] = False
    mask = (
        torch.zeros(n, window, 2 * window).masked_fill_(~visible, float("-inf"))[:, None].repeat(b, 1, 1, 1)
    )
    y = F.scaled_dot_product_attention(
        blocks(q).flatten(0, 1), with_previous(k), with_previous(v), attn_mask=mask
    )
    return (
        y.view(b, n, heads, window, size).transpose(1, 2).reshape(b, heads, n * window, size)[:, :, :length]
    )


class Attention(nn.Module):
    """Grouped-query attention, global without positions or local with RoPE."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.is_global = config.is_global(layer)
        queries, keys = config.heads * config.head_size, config.kv_heads * config.head_size
        # One product for q, k and v: rows in that order, split again at export.
        self.qkv = nn.Parameter(torch.randn(queries + 2 * keys, config.d) * config.d**-0.5)
        self.out = nn.Parameter(torch.zeros(config.d, queries))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: list[Tensor] | None = None) -> Tensor:
        """x [B, T, d], tables [T, h/2] -> [B, T, d].

        past: empty or [k, v], each [B, KV, P, h], of the P positions before x; x's own are appended in place.
        """
        c = self.config
        b, t, _ = x.shape
        qkv = F.linear(x, self.qkv).view(b, t, c.heads + 2 * c.kv_heads, c.head_size).transpose(1, 2)
        q, k, v = qkv.split((c.heads, c.kv_heads, c.kv_heads), dim=1)
        if not self.is_global:
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        earlier = 0
        if past is not None:
            if past:
                earlier = past[0].shape[2]
                k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
            past[:] = [k, v]
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        if earlier:
            i, j = torch.arange(earlier, earlier + t)[:, None], torch.arange(earlier + t)[None, :]
            visible = (j <= i) & (self.is_global | (i - j < c.window))
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        elif self.is_global or t <= c.window:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = windowed(q, k, v, c.window)
        return F.linear(y.transpose(1, 2).reshape(b, t, c.heads * c.head_size), self.out)


class Experts(nn.Module):
    """The router and the ReGLU experts of a layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        e, d, f = config.experts, config.d, config.ff
        self.router = nn.Parameter(torch.randn(e, d) * d**-0.5)
        # Rows 0..F-1 are the gate, F..2F-1 the up projection: one product an expert instead of two.
        self.gate_up = nn.Parameter(torch.randn(e, 2 * f, d) * d**-0.5)
        self.down = nn.Parameter(torch.zeros(e, d, f))

    def route(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raw residual x [N, d] -> (weights [N, k], ids [N, k], balance loss []).

        Balance is asked of the whole group of sequences in the step, not of each sequence, so that an expert
        may take one topic: E * sum_e f_e P_e, f_e the share of choices and P_e the mean probability of
        expert e over all N tokens. It is 1 when balanced.
        """
        c = self.config
        logits = F.linear(x, self.router)
        top, ids = logits.topk(c.chosen, dim=-1)
        share = torch.bincount(ids.reshape(-1), minlength=c.experts).float() / ids.numel()
        balance = c.experts * (share * logits.softmax(dim=-1).mean(dim=0)).sum()
        return top.softmax(dim=-1), ids, balance

    def forward(self, b: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
        """Normed b [N, d] with its routing -> [N, d]."""
        c = self.config
        flat = ids.reshape(-1)
        order = flat.argsort()
        counts = torch.bincount(flat, minlength=c.experts).tolist()
        tokens = order // c.chosen
        # Tokens sorted by expert: every expert is one dense product over its own rows.
        # `unbind`, since its gradient is one stack; indexing would make an array of zeros for every expert.
        parts = []
        for rows, gate_up, down in zip(
            b[tokens].split(counts), self.gate_up.unbind(), self.down.unbind(), strict=True
        ):
            gate, up = F.linear(rows, gate_up).chunk(2, dim=-1)
            parts.append(F.linear(F.relu(gate) * up, down))
        mixed = torch.cat(parts) * weights.reshape(-1)[order][:, None]
        return torch.zeros_like(b).index_add(0, tokens, mixed)


class Layer(nn.Module):
    """One transformer layer with the router in front of everything."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.eps = config.eps
        self.attn_norm = nn.Parameter(torch.ones(config.d))
        self.ffn_norm = nn.Parameter(torch.ones(config.d))
        self.attention = Attention(config, index)
        self.experts = Experts(config)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, past: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """x [B, T, d] -> (x [B, T, d], balance loss []); past as in `Attention`."""
        d = x.shape[-1]
        weights, ids, balance = self.experts.route(x.reshape(-1, d))
        a = F.rms_norm(x, (d,), self.attn_norm, self.eps)
        y = x + self.attention(a, cos, sin, past)
        b = F.rms_norm(y, (d,), self.ffn_norm, self.eps)
        return y + self.experts(b.reshape(-1, d), weights, ids).view_as(y), balance


class SmallThinker(nn.Module):
    """The whole model; `forward` returns hidden states, `logits` the head's products."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # As large as what the layers write: drowned by them, no token could be told from another.
        self.embedding = nn.Parameter(torch.randn(config.vocab, config.d))
        self.blocks = nn.ModuleList(Layer(config, i) for i in range(config.layers))
        # Small, since the head is that large embedding again.
        self.norm = nn.Parameter(torch.full((config.d,), 0.06))
        cos, sin = rope_tables(config, config.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: Tensor, past: list[list[Tensor]] | None = None) -> tuple[Tensor, Tensor]:
        """ids [B, T] int64 -> (normed hidden states [B, T, d], mean balance loss []).

        past: a list for every layer, empty at first, filled here, so that a later call may go on from it.
        """
        earlier = past[0][0].shape[2] if past and past[0] else 0
        x = F.embedding(ids, self.embedding)
        here = slice(earlier, earlier + ids.shape[1])
        cos, sin = self.cos[here], self.sin[here]
        balance = x.new_zeros(())
        for i, block in enumerate(self.blocks):
            x, one = block(x, cos, sin, None if past is None else past[i])
            balance = balance + one
        d = x.shape[-1]
        return F.rms_norm(x, (d,), self.norm, self.config.eps), balance / self.config.layers

    def logits(self, ids: Tensor, past: list[list[Tensor]] | None = None) -> Tensor:
        """ids [B, T] -> logits [B, T, V]."""
        hidden, _ = self(ids, past)
        return F.linear(hidden, self.embedding)

    def count(self) -> tuple[int, int]:
        """(all parameters, parameters a token uses)."""
        c = self.config
        total = sum(p.numel() for p in self.parameters())
        idle = c.layers * (c.experts - c.chosen) * 3 * c.d * c.ff
        return total, total - idle
