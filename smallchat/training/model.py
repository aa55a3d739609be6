"""SmallThinker as a PyTorch module, small enough to train in minutes.

The formulas are those of the technical report: the router reads the raw residual at the entry of a layer
(before the norm and before attention), its softmax runs over the chosen k experts only, layers 0, 4, 8, ...
see everything and carry no position (NoPE), the others rotate (RoPE) and see a sliding window, the experts
are ReGLU, nothing has a bias, and the head is the embedding.

Shapes in comments: B sequences of T tokens, d hidden, H query heads, KV key heads, h head size, E experts,
k chosen experts, F expert width, V vocabulary, N = B*T.
"""

from __future__ import annotations

# mypy: allow-subclassing-any, allow-untyped-calls
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

Mask: TypeAlias = Tensor | BlockMask
"""Which positions each one sees: bool [B, 1, T, T], or the blocks of it that a GPU skips and computes."""
BLOCK = 128


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a model. The defaults are those of the built-in model."""

    vocab: int = 4096
    layers: int = 12
    d: int = 256
    heads: int = 8
    kv_heads: int = 2
    head_size: int = 32
    experts: int = 16
    chosen: int = 4
    ff: int = 64
    window: int = 512
    global_every: int = 4
    rope_base: float = 10000.0
    eps: float = 1e-6
    context: int = 2048

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


def documents(ids: Tensor, end: int) -> Tensor:
    """ids [B, T], windows of conversations that `end` closes -> the number of each token's conversation."""
    ends = (ids == end).long()
    return ends.cumsum(dim=1) - ends


def masks(document: Tensor, window: int, blocks: bool) -> tuple[Mask, Mask]:
    """(global, sliding) attention over document [B, T]: causal, and never from one document into another."""
    everything = document.shape[1]
    if blocks:
        return _blocks(document, everything), _blocks(document, window)
    i, j = (torch.arange(everything, device=document.device).view(shape) for shape in ((-1, 1), (1, -1)))
    seen = (j <= i) & (document[:, :, None] == document[:, None, :])
    return seen[:, None], (seen & (i - j < window))[:, None]


def _blocks(document: Tensor, window: int) -> BlockMask:
    """Which blocks of BLOCK queries see which blocks of keys: not, wholly, or by the rule for each token.

    Documents follow one another in their order, so the first and the last token of a block tell of all of it.
    """

    def rule(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return (j <= i) & (i - j < window) & (document[b, i] == document[b, j])

    first, last = document[:, ::BLOCK], document[:, BLOCK - 1 :: BLOCK]
    i, j = (torch.arange(first.shape[1], device=document.device).view(s) for s in ((-1, 1), (1, -1)))
    apart = (i - j) * BLOCK
    some = (apart >= 0) & (apart - BLOCK + 1 < window) & (first[:, :, None] <= last[:, None, :])
    whole = (apart > 0) & (apart + BLOCK - 1 < window) & (last[:, :, None] == first[:, None, :])
    return BlockMask.from_kv_blocks(*_listed(some & ~whole), *_listed(whole), BLOCK_SIZE=BLOCK, mask_mod=rule)


def _listed(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """bool [B, n, n] -> how many of each row [B, 1, n] and which, those first [B, 1, n, n]; int32."""
    order = chosen.int().argsort(dim=-1, descending=True, stable=True)
    return chosen.sum(dim=-1, dtype=torch.int32)[:, None], order.int()[:, None]


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

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask) -> Tensor:
        """x [B, T, d], tables [T, h/2] -> [B, T, d]."""
        c = self.config
        b, t, _ = x.shape
        qkv = F.linear(x, self.qkv).view(b, t, c.heads + 2 * c.kv_heads, c.head_size).transpose(1, 2)
        q, k, v = qkv.split((c.heads, c.kv_heads, c.kv_heads), dim=1)
        if not self.is_global:
            # The tables are float32, and so is the product; attention wants all three of one type.
            q, k = rotate(q, cos, sin).type_as(v), rotate(k, cos, sin).type_as(v)
        if isinstance(mask, Tensor):
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        else:
            y = flex_attention(q, k, v, block_mask=mask, enable_gqa=True)
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

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Raw residual x [N, d] -> (weights [N, E], zero but for the k chosen; balance loss []).

        Balance is asked of the whole group of sequences in the step, not of each sequence, so that an expert
        may take one topic: E * sum_e f_e P_e, f_e the share of choices and P_e the mean probability of
        expert e over all N tokens. It is 1 when balanced.
        """
        c = self.config
        with torch.autocast(x.device.type, enabled=False):  # rounded, it would choose other experts
            logits = F.linear(x.float(), self.router)
            # The k-th largest by taking larger ones away: one kernel on a GPU, where `topk` is several.
            left = logits.detach()
            for _ in range(c.chosen - 1):
                left = left.masked_fill(left == left.amax(dim=-1, keepdim=True), float("-inf"))
            chosen = logits.detach() >= left.amax(dim=-1, keepdim=True)
            weights = logits.masked_fill(~chosen, float("-inf")).softmax(dim=-1)
            share = chosen.float().mean(dim=0) / c.chosen
            balance = c.experts * (share * logits.softmax(dim=-1).mean(dim=0)).sum()
        return weights, balance

    def forward(self, b: Tensor, weights: Tensor) -> Tensor:
        """Normed b [N, d], weights [N, E] -> [N, d]."""
        return self._all(b, weights) if b.is_cuda else self._chosen(b, weights)

    def _all(self, b: Tensor, weights: Tensor) -> Tensor:
        """Every expert computes for every token, and the weights silence those that were not chosen.

        Experts this small, each on rows of its own, would keep no GPU busy.
        """
        c = self.config
        gate, up = (
            F.linear(b, self.gate_up.flatten(0, 1)).view(-1, c.experts, 2, c.ff).unbind(dim=2)
        )  # [N, E, F]
        active = F.relu(gate) * up * weights.type_as(gate)[:, :, None]
        return F.linear(active.flatten(1), self.down.transpose(0, 1).flatten(1))

    def _chosen(self, b: Tensor, weights: Tensor) -> Tensor:
        """Each expert computes for the tokens that chose it."""
        mixed = torch.zeros_like(b)
        for e, (gate_up, down) in enumerate(zip(self.gate_up.unbind(), self.down.unbind(), strict=True)):
            rows = weights[:, e].nonzero()[:, 0]
            gate, up = F.linear(b[rows], gate_up).chunk(2, dim=-1)
            mixed = mixed.index_add(0, rows, F.linear(F.relu(gate) * up, down) * weights[rows, e, None])
        return mixed


class Layer(nn.Module):
    """One transformer layer with the router in front of everything."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.eps = config.eps
        self.attn_norm = nn.Parameter(torch.ones(config.d))
        self.ffn_norm = nn.Parameter(torch.ones(config.d))
        self.attention = Attention(config, index)
        self.experts = Experts(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Mask) -> tuple[Tensor, Tensor]:
        """x [B, T, d] -> (x [B, T, d], balance loss [])."""
        d = x.shape[-1]
        weights, balance = self.experts.route(x.reshape(-1, d))
        a = F.rms_norm(x, (d,), self.attn_norm, self.eps)
        y = x + self.attention(a, cos, sin, mask)
        b = F.rms_norm(y, (d,), self.ffn_norm, self.eps)
        return y + self.experts(b.reshape(-1, d), weights).view_as(y), balance


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

    def forward(self, ids: Tensor, document: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """ids [B, T] int64 -> (normed hidden states [B, T, d], mean balance loss []).

        document: [B, T] (see `documents`), None: each row is one.
        """
        length = ids.shape[1]
        whole = torch.zeros_like(ids) if document is None else document
        seen, near = masks(whole, self.config.window, blocks=ids.is_cuda and document is not None)
        x = F.embedding(ids, self.embedding)
        cos, sin = self.cos[:length], self.sin[:length]
        balance = x.new_zeros(())
        for i, block in enumerate(self.blocks):
            x, one = block(x, cos, sin, seen if self.config.is_global(i) else near)
            balance = balance + one
        d = x.shape[-1]
        return F.rms_norm(x, (d,), self.norm, self.config.eps), balance / self.config.layers

    def logits(self, ids: Tensor) -> Tensor:
        """ids [B, T] -> logits [B, T, V]."""
        return F.linear(self(ids)[0], self.embedding)

    def count(self) -> tuple[int, int]:
        """(all parameters, parameters a token uses)."""
        c = self.config
        total = sum(p.numel() for p in self.parameters())
        idle = c.layers * (c.experts - c.chosen) * 3 * c.d * c.ff
        return total, total - idle
