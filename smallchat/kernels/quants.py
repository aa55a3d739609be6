"""The tensor types of GGUF: how many bytes a block has, and how a block becomes float32.

Layouts as ggml defines them (`block_q4_0` and so on). Every `_q…` function takes uint8
[blocks, bytes of a block] and gives float32 [blocks, weights of a block]. All numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class TensorType(IntEnum):
    """Numbers of GGUF's `ggml_type`."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    BF16 = 30


class Layout(NamedTuple):
    """`weights` and `size` (bytes) of one block."""

    weights: int
    size: int


LAYOUTS: dict[TensorType, Layout] = {
    TensorType.F32: Layout(1, 4),
    TensorType.F16: Layout(1, 2),
    TensorType.BF16: Layout(1, 2),
    TensorType.Q4_0: Layout(32, 18),
    TensorType.Q4_1: Layout(32, 20),
    TensorType.Q5_0: Layout(32, 22),
    TensorType.Q5_1: Layout(32, 24),
    TensorType.Q8_0: Layout(32, 34),
    TensorType.Q2_K: Layout(256, 84),
    TensorType.Q3_K: Layout(256, 110),
    TensorType.Q4_K: Layout(256, 144),
    TensorType.Q5_K: Layout(256, 176),
    TensorType.Q6_K: Layout(256, 210),
}


def row_bytes(kind: TensorType, cols: int) -> int:
    """Bytes of a row of `cols` weights. Raises `ValueError` where they do not fill whole blocks."""
    layout = LAYOUTS[kind]
    if cols % layout.weights:
        raise ValueError(f"{cols} weights are no whole number of {kind.name} blocks of {layout.weights}")
    return cols // layout.weights * layout.size


def dequantise(kind: TensorType, data: Bytes) -> Floats:
    """uint8 [rows, row bytes] → float32 [rows, cols], always a fresh or read-only array."""
    if kind is TensorType.F32:
        return np.ascontiguousarray(data).view("<f4")
    layout = LAYOUTS[kind]
    blocks = np.ascontiguousarray(data).reshape(-1, layout.size)
    return _DECODERS[kind](blocks).reshape(len(data), -1)


def quantise_q8_0(values: Floats) -> Bytes:
    """float32 [..., cols] → uint8 [..., row bytes]: blocks of 32, scale largest / 127, as ggml makes them."""
    blocks = values.reshape(*values.shape[:-1], -1, 32)
    scale = np.abs(blocks).max(axis=-1, keepdims=True) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    out = np.empty((*blocks.shape[:-1], LAYOUTS[TensorType.Q8_0].size), np.uint8)
    out[..., :2] = scale.astype("<f2").view(np.uint8)
    out[..., 2:] = np.rint(blocks * inverse).astype(np.int8).view(np.uint8)
    return out.reshape(*values.shape[:-1], -1)


def _half(raw: Bytes) -> Floats:
    """uint8 [n, 2] → float32 [n, 1]."""
    return np.ascontiguousarray(raw).view("<f2").astype(np.float32)


def _f16(blocks: Bytes) -> Floats:
    return blocks.view("<f2").astype(np.float32)


def _bf16(blocks: Bytes) -> Floats:
    return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)


def _nibbles(raw: Bytes) -> Bytes:
    """uint8 [n, k] → [n, 2k]: all low halves, then all high halves."""
    out = np.empty((len(raw), 2 * raw.shape[1]), np.uint8)
    np.bitwise_and(raw, 15, out=out[:, : raw.shape[1]])
    np.right_shift(raw, 4, out=out[:, raw.shape[1] :])
    return out


def _fifth_bits(raw: Bytes) -> Bytes:
    """uint8 [n, 4] → [n, 32] of 0 or 16: the high bits of 5-bit weights, one a bit, lowest first."""
    bits: Bytes = np.unpackbits(raw, axis=1, bitorder="little") << np.uint8(4)
    return bits


def _q4_0(blocks: Bytes) -> Floats:
    values = _nibbles(blocks[:, 2:]).astype(np.float32)
    values -= 8
    values *= _half(blocks[:, :2])
    return values


def _q4_1(blocks: Bytes) -> Floats:
    values = _nibbles(blocks[:, 4:]).astype(np.float32)
    values *= _half(blocks[:, :2])
    values += _half(blocks[:, 2:4])
    return values


def _q5_0(blocks: Bytes) -> Floats:
    values = (_nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])).astype(np.float32)
    values -= 16
    values *= _half(blocks[:, :2])
    return values


def _q5_1(blocks: Bytes) -> Floats:
    values = (_nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])).astype(np.float32)
    values *= _half(blocks[:, :2])
    values += _half(blocks[:, 2:4])
    return values


def _q8_0(blocks: Bytes) -> Floats:
    values = blocks[:, 2:].view(np.int8).astype(np.float32)
    values *= _half(blocks[:, :2])
    return values


def _two_bits(raw: Bytes) -> Bytes:
    """uint8 [n, 64] → [n, 2, 4, 32]: in each half, four layers of two bits, lowest first."""
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    pairs: Bytes = (raw.reshape(-1, 2, 1, 32) >> shifts) & np.uint8(3)
    return pairs


def _q2_k(blocks: Bytes) -> Floats:
    # 16 groups of 16 weights; a byte of `scales` holds a group's scale (low half) and its minimum (high half)
    scales = blocks[:, :16]
    values = _two_bits(blocks[:, 16:80]).reshape(-1, 16, 16).astype(np.float32)
    values *= (_half(blocks[:, 80:82]) * (scales & 15))[:, :, None]
    values -= (_half(blocks[:, 82:84]) * (scales >> 4))[:, :, None]
    return values


def _q3_k(blocks: Bytes) -> Floats:
    masks, low, packed = blocks[:, :32], blocks[:, 32:96], blocks[:, 96:108]
    # Bit b of a mask byte belongs to layer b; a bit that is not set takes 4 away.
    high = (masks[:, None, :] >> np.arange(8, dtype=np.uint8)[:, None]) & 1
    values = _two_bits(low).reshape(-1, 8, 32).astype(np.float32)
    values -= 4 * (1 - high.astype(np.float32))
    # 16 scales of 6 bits: four low bits as nibbles of 8 bytes, two high bits in the last 4 bytes
    top = (packed[:, None, 8:] >> np.array([0, 2, 4, 6], np.uint8)[:, None]) & 3
    scales = (_nibbles(packed[:, :8]) | (top.reshape(-1, 16) << 4)).astype(np.float32)
    scales -= 32
    scales *= _half(blocks[:, 108:110])
    grouped = values.reshape(-1, 16, 16)
    grouped *= scales[:, :, None]
    return grouped


def _six_bit_scales(packed: Bytes) -> tuple[Bytes, Bytes]:
    """uint8 [n, 12] → scales and minima, uint8 [n, 8] each: the packing of Q4_K and Q5_K."""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6 << 4)], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6 << 4)], axis=1)
    return scales, minima


def _k_groups(blocks: Bytes, quants: Bytes) -> Floats:
    """Scale and shift 8 groups of 32: `quants` is uint8 [n, 256] in order of the weights."""
    scales, minima = _six_bit_scales(blocks[:, 4:16])
    values = quants.reshape(-1, 8, 32).astype(np.float32)
    values *= (_half(blocks[:, :2]) * scales)[:, :, None]
    values -= (_half(blocks[:, 2:4]) * minima)[:, :, None]
    return values


def _q4_k(blocks: Bytes) -> Floats:
    # Each 32 bytes hold two groups: the low halves, then the high ones.
    return _k_groups(blocks, _nibbles(blocks[:, 16:144].reshape(-1, 32)))


def _q5_k(blocks: Bytes) -> Floats:
    fifth: Bytes = (blocks[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None]) & np.uint8(
        1
    )  # [n, 8, 32]
    low = _nibbles(blocks[:, 48:176].reshape(-1, 32)).reshape(-1, 8, 32)
    return _k_groups(blocks, low | (fifth << np.uint8(4)))


def _q6_k(blocks: Bytes) -> Floats:
    # Two halves of 128 weights; in each, four runs of 32 share 64 low bytes and 32 high ones.
    low = _nibbles(blocks[:, :128].reshape(-1, 64)).reshape(-1, 2, 4, 32)
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts) & 3
    values = (low | (high << 4)).astype(np.float32).reshape(-1, 16, 16)
    values -= 32
    values *= (_half(blocks[:, 208:210]) * blocks[:, 192:208].view(np.int8))[:, :, None]
    return values


_DECODERS: dict[TensorType, Callable[[Bytes], Floats]] = {
    TensorType.F16: _f16,
    TensorType.BF16: _bf16,
    TensorType.Q4_0: _q4_0,
    TensorType.Q4_1: _q4_1,
    TensorType.Q5_0: _q5_0,
    TensorType.Q5_1: _q5_1,
    TensorType.Q8_0: _q8_0,
    TensorType.Q2_K: _q2_k,
    TensorType.Q3_K: _q3_k,
    TensorType.Q4_K: _q4_k,
    TensorType.Q5_K: _q5_k,
    TensorType.Q6_K: _q6_k,
}
