"""The tensor types of GGUF: how many bytes a block has, and what its bytes mean.

Layouts as ggml defines them (`block_q4_0` and so on). Every `_q…` function takes uint8
[blocks, bytes of a block] and gives the block's `Levels`. All numbers are little-endian.

NumPy's loops over a few bytes at a time cost more than the bytes do. So the parts of a block are moved whole,
as elements of a void type, and all arithmetic runs over contiguous memory.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from smallchat.kernels.repack import restore

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


SMALLEST = np.float32(1e-30)
"""The least scale of whole numbers: its reciprocal, times what is added up, is still a float32."""


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
    Q4_0_8X8 = -1
    """Q4_0 with interleaved rows, in memory of our own (`smallchat.kernels.repack`): no file can have this
    number."""


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
    TensorType.Q4_0_8X8: Layout(32, 18),
}


class Levels(NamedTuple):
    """What quantised rows hold. A weight is its level · the scale of its group + the offset of its group."""

    values: npt.NDArray[np.int8 | np.uint8]
    """[rows, groups, weights of a group], in order of the weights."""
    scales: Floats
    """[rows, groups]"""
    offsets: Floats | None = None
    """[rows, groups]; None: all are zero."""


def row_bytes(kind: TensorType, cols: int) -> int:
    """Bytes of a row of `cols` weights. Raises `ValueError` where they do not fill whole blocks."""
    layout = LAYOUTS[kind]
    if cols % layout.weights:
        raise ValueError(f"{cols} weights are no whole number of {kind.name} blocks of {layout.weights}")
    return cols // layout.weights * layout.size


def levels_of(kind: TensorType, data: Bytes) -> Levels | None:
    """Rows, uint8 [rows, row bytes], as small whole numbers; None for the types that hold floats."""
    if kind is TensorType.Q4_0_8X8:
        kind, data = TensorType.Q4_0, restore(data)
    read = _LEVELS.get(kind)
    if read is None:
        return None
    values, scales, offsets = read(np.ascontiguousarray(data).reshape(-1, LAYOUTS[kind].size))
    size = LAYOUTS[kind].weights // scales.shape[1]
    return Levels(
        values.reshape(len(data), -1, size),
        scales.reshape(len(data), -1),
        None if offsets is None else offsets.reshape(len(data), -1),
    )


def dequantise(kind: TensorType, data: Bytes) -> Floats:
    """uint8 [rows, row bytes] → float32 [rows, cols], always a fresh or read-only array."""
    levels = levels_of(kind, data)
    if levels is None:
        return _FLOATS[kind](np.ascontiguousarray(data)).reshape(len(data), -1)
    return scaled(levels, levels.values.astype(np.float32))


def scaled(levels: Levels, values: Floats) -> Floats:
    """The weights, float32 [rows, cols], in place of `values`: those of `levels`, as float32."""
    values *= levels.scales[:, :, None]
    if levels.offsets is not None:
        values += levels.offsets[:, :, None]
    return values.reshape(len(values), -1)


def whole_numbers(values: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """float32 [..., n] as int8 [..., n] and a scale for each row, float32 [...]: its largest / 127."""
    scales: Floats = np.maximum.reduce(np.abs(values), axis=-1)
    scales *= np.float32(1 / 127)
    np.maximum(scales, SMALLEST, out=scales)  # rows of zeros
    levels = values / scales[..., None]
    return np.rint(levels, out=levels).astype(np.int8), scales


def _f32(data: Bytes) -> Floats:
    return data.view("<f4")


def _f16(data: Bytes) -> Floats:
    """NumPy's own conversion takes three times as long: the bits are moved to where float32 has them, and the
    exponent is set right by a product, which is exact."""
    halves = data.view("<i2")
    bits = halves.astype(np.int32)
    bits <<= 13
    bits &= np.int32(-0x70002000)  # without the copies of the sign between it and the exponent
    values = bits.view(np.float32)
    values *= np.float32(2.0**112)
    if values.size and max(values.max(), -values.min()) >= 1 << 16:  # was infinite, or no number
        return halves.view("<f2").astype(np.float32)
    return values


def _bf16(data: Bytes) -> Floats:
    return (data.view("<u2").astype(np.uint32) << 16).view(np.float32)


def _half(raw: Bytes) -> Floats:
    """uint8 [n, 2] → float32 [n, 1]."""
    return raw.view("<f2").astype(np.float32)


def _packed(raw: Bytes) -> Bytes:
    """Columns of blocks, uint8 [n, k], as contiguous memory."""
    return np.ascontiguousarray(raw.view(f"V{raw.shape[1]}")).view(np.uint8)


def _fields(raw: Bytes, bits: int) -> Bytes:
    """Contiguous uint8 [n, k] → [n, 8 / bits · k]: the lowest `bits` of all k bytes, then the next ones, …"""
    n, k = raw.shape
    count, part, mask = 8 // bits, f"V{k}", np.uint8((1 << bits) - 1)
    out = np.empty((n, count), part)
    for at in range(count):
        field = raw >> np.uint8(at * bits) if at else raw
        out[:, at] = (field & mask if at < count - 1 else field).view(part)[:, 0]
    return out.view(np.uint8)


def _signed(levels: Bytes, zero: int) -> npt.NDArray[np.int8]:
    """Levels counted from `zero`; `levels` is changed in place."""
    levels -= np.uint8(zero)
    return levels.view(np.int8)


def _fifth_bits(raw: Bytes) -> Bytes:
    """uint8 [n, 4] → [n, 32] of 0 or 16: the high bits of 5-bit weights, one a bit, lowest first."""
    return np.unpackbits(raw, axis=1, bitorder="little") * np.uint8(16)


def _q4_0(blocks: Bytes) -> Levels:
    return Levels(_signed(_fields(_packed(blocks[:, 2:]), 4), 8), _half(blocks[:, :2]))


def _q4_1(blocks: Bytes) -> Levels:
    return Levels(_fields(_packed(blocks[:, 4:]), 4), _half(blocks[:, :2]), _half(blocks[:, 2:4]))


def _q5_0(blocks: Bytes) -> Levels:
    levels = _fields(_packed(blocks[:, 6:]), 4) | _fifth_bits(blocks[:, 2:6])
    return Levels(_signed(levels, 16), _half(blocks[:, :2]))


def _q5_1(blocks: Bytes) -> Levels:
    levels = _fields(_packed(blocks[:, 8:]), 4) | _fifth_bits(blocks[:, 4:8])
    return Levels(levels, _half(blocks[:, :2]), _half(blocks[:, 2:4]))


def _q8_0(blocks: Bytes) -> Levels:
    return Levels(_packed(blocks[:, 2:]).view(np.int8), _half(blocks[:, :2]))


def _two_bits(raw: Bytes) -> Bytes:
    """uint8 [n, 64], columns of blocks → [n, 256]: two halves, in each four layers of two bits."""
    return _fields(_packed(raw).reshape(-1, 32), 2).reshape(-1, 256)


def _q2_k(blocks: Bytes) -> Levels:
    # 16 groups of 16 weights; a byte of `scales` holds a group's scale (low half) and its minimum (high half)
    scales = blocks[:, :16]
    return Levels(
        _two_bits(blocks[:, 16:80]),
        _half(blocks[:, 80:82]) * (scales & 15),
        -(_half(blocks[:, 82:84]) * (scales >> 4)),
    )


def _q3_k(blocks: Bytes) -> Levels:
    # Bit b of a mask byte belongs to layer b; a bit that is not set takes 4 away.
    levels = _two_bits(blocks[:, 32:96]) | _fields(_packed(blocks[:, :32]), 1) * np.uint8(4)
    # 16 scales of 6 bits: four low bits as nibbles of 8 bytes, two high bits in the last 4 bytes
    packed = _packed(blocks[:, 96:108])
    low, top = np.ascontiguousarray(packed[:, :8]), np.ascontiguousarray(packed[:, 8:])
    scales = (_fields(low, 4) | (_fields(top, 2) * np.uint8(16))).astype(np.float32)
    scales -= 32
    scales *= _half(blocks[:, 108:110])
    return Levels(_signed(levels, 4), scales)


def _six_bit_scales(packed: Bytes) -> tuple[Bytes, Bytes]:
    """uint8 [n, 12] → scales and minima, uint8 [n, 8] each: the packing of Q4_K and Q5_K."""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6 << 4)], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6 << 4)], axis=1)
    return scales, minima


def _k_groups(blocks: Bytes, levels: Bytes) -> Levels:
    """Eight groups of 32: `levels` is [n, 256]."""
    scales, minima = _six_bit_scales(blocks[:, 4:16])
    return Levels(levels, _half(blocks[:, :2]) * scales, -(_half(blocks[:, 2:4]) * minima))


def _q4_k(blocks: Bytes) -> Levels:
    # Each 32 bytes hold two groups: the low halves, then the high ones.
    return _k_groups(blocks, _fields(_packed(blocks[:, 16:144]).reshape(-1, 32), 4).reshape(-1, 256))


def _q5_k(blocks: Bytes) -> Levels:
    low = _fields(_packed(blocks[:, 48:176]).reshape(-1, 32), 4).reshape(-1, 256)
    return _k_groups(blocks, low | _fields(_packed(blocks[:, 16:48]), 1) * np.uint8(16))


def _q6_k(blocks: Bytes) -> Levels:
    # Two halves of 128 weights; in each, four runs of 32 share 64 low bytes and 32 high ones.
    levels = _fields(_packed(blocks[:, :128]).reshape(-1, 64), 4).reshape(-1, 256)
    levels |= _two_bits(blocks[:, 128:192]) * np.uint8(16)
    scales = _packed(blocks[:, 192:208]).view(np.int8).astype(np.float32)
    scales *= _half(blocks[:, 208:210])
    return Levels(_signed(levels, 32), scales)


_FLOATS: dict[TensorType, Callable[[Bytes], Floats]] = {
    TensorType.F32: _f32,
    TensorType.F16: _f16,
    TensorType.BF16: _bf16,
}

_LEVELS: dict[TensorType, Callable[[Bytes], Levels]] = {
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
