"""Q4_0 with its rows interleaved by eight, the layout that ggml calls `block_q4_0x8`: one run over memory
feeds eight sums, and quants need less work before they are multiplied.

Of eight rows' blocks at the same place, 18 bytes each, come first the eight scales, then the quants, eight
bytes of each row in turn, with the sign bit of every half turned. Only memory of our own holds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

Bytes = npt.NDArray[np.uint8]

ROWS = 8
"""Rows that lie together."""
_BLOCK, _SCALE, _RUN = 18, 2, 8  # bytes
_SIGNS = np.uint64(0x8888888888888888)


def repack(rows: Bytes) -> Bytes:
    """Rows of Q4_0, uint8 [n, row bytes], n a multiple of 8 → the same bytes in the order of this layout."""
    plain = np.ascontiguousarray(rows)
    packed = np.empty(rows.shape, np.uint8)
    _copy(_plain(plain), _packed(packed))
    return packed


def restore(packed: Bytes) -> Bytes:
    """What `repack` was given."""
    plain = np.empty(packed.shape, np.uint8)
    _copy(_packed(np.ascontiguousarray(packed)), _plain(plain))
    return plain


def _copy(source: tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint64]], into: Any) -> None:
    scales, quants = into
    scales[:] = source[0]
    np.bitwise_xor(source[1], _SIGNS, out=quants)


def _plain(rows: Bytes) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint64]]:
    """Views of rows as they are: scales [groups, blocks, row of 8], quants [groups, blocks, half, row]."""
    count, row = rows.shape
    groups, blocks, flat = count // ROWS, row // _BLOCK, rows.reshape(-1)
    scales = rows.view(np.uint16).reshape(groups, ROWS, blocks, _BLOCK // 2)[..., 0].transpose(0, 2, 1)
    # Quants begin two bytes into a block: a view of numbers that are not aligned is five times as fast as
    # bringing them together first.
    first = flat[_SCALE : _SCALE + _RUN].view(np.uint64)
    strides = (ROWS * row, _BLOCK, _RUN, row)
    return scales, as_strided(first, (groups, blocks, 2, ROWS), strides, writeable=rows.flags.writeable)


def _packed(rows: Bytes) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint64]]:
    """The same of interleaved rows."""
    groups = rows.reshape(len(rows) // ROWS, -1, ROWS * _BLOCK)
    quants = groups[..., ROWS * _SCALE :].view(np.uint64)
    return groups[..., : ROWS * _SCALE].view(np.uint16), quants.reshape(*groups.shape[:2], 2, ROWS)
