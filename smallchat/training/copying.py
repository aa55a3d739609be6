"""A start for copying: the two attention heads that answer "what came after this word before?".

Answering from a note rests on such a pair: a head that tells each position which token came before it, and a
later one that looks for a position whose forerunner is the token at hand and takes what stands there. Models
find the pair by themselves, but only after far more tokens than this one is trained on. So both heads begin
near that solution; training is free to change every number of them, and does.
"""

from __future__ import annotations

import torch

from .model import Attention, SmallThinker

# Place of the constant in the residual, and of what the first head writes. Both are ordinary after the start.
CONSTANT, CONSTANT_VALUE = 0, 4.0
BEFORE, FINDER = 1, 4
OFFSETS = (1.0, 0.8, 0.6, 0.4)


def _rows(attention: Attention, kind: str, head: int) -> slice:
    """Rows of `qkv` that belong to a query, key or value head."""
    c = attention.config
    first = {"q": 0, "k": c.heads, "v": c.heads + c.kv_heads}[kind] + head
    return slice(first * c.head_size, (first + 1) * c.head_size)


@torch.no_grad()
def prepare(model: SmallThinker) -> None:
    """Set the last key head of two layers, and its first query head, to look back and to find."""
    c = model.config
    h, group = c.head_size, c.heads // c.kv_heads
    channel = slice(c.d - h, c.d)
    model.embedding[:, channel] *= 0.1
    model.embedding[:, CONSTANT] = CONSTANT_VALUE
    kv, query = c.kv_heads - 1, (c.kv_heads - 1) * group
    read = torch.linalg.qr(torch.randn(c.d, c.d))[0][: 2 * h]
    read[:, CONSTANT] = 0
    read[:, channel] = 0
    token, value = read[:h], read[h:]
    columns = slice(query * h, (query + 1) * h)

    # Constant queries and keys, turned by RoPE, are most alike one position apart.
    before = model.blocks[BEFORE].attention
    half = h // 2
    angles = c.rope_base ** (-torch.arange(half) / half)
    size = torch.zeros(half)
    size[: len(OFFSETS)] = (22 / sum(OFFSETS) * h**0.5 * torch.tensor(OFFSETS)).sqrt()
    for kind, head, row in (
        ("q", query, torch.cat((size * angles.cos(), -size * angles.sin()))),
        ("k", kv, torch.cat((size, torch.zeros(half)))),
    ):
        before.qkv[_rows(before, kind, head)] = 0
        before.qkv[_rows(before, kind, head), CONSTANT] = row / CONSTANT_VALUE
    before.qkv[_rows(before, "v", kv)] = token
    before.out[channel, columns] = 1.5 * torch.eye(h)

    finder = model.blocks[FINDER].attention
    finder.qkv[_rows(finder, "q", query)] = 3 * token
    finder.qkv[_rows(finder, "k", kv)] = 0
    finder.qkv[_rows(finder, "k", kv), channel] = torch.eye(h)
    finder.qkv[_rows(finder, "v", kv)] = value
    finder.out[:, columns] = 4 * value.T
