"""Attention of one token over an 8-bit KV cache, in products of whole numbers.

Queries are rounded to 8 bits as keys are. Weights are rounded to 16 bits, because a few large ones may stand
beside thousands of small ones that count together: two digits of 8 bits each, two rows of one product. A
value's scale is part of its weight, in the exponent already, but not of the sum that weights are divided by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from smallchat.kernels.quants import whole_numbers
from smallchat.kernels.whole_numbers import LONGEST, TOGETHER, WholeKernels
from smallchat.model.attention import Group
from smallchat.model.kv_cache import Entries, spread

Floats = npt.NDArray[np.float32]

LARGEST = np.log(np.float32(127 << 8))
"""Logarithm of what a head's largest weight becomes, so that its upper digit is no more than 127."""


class EightBitAttention:
    """Writes a token's key and value into the cache, and mixes the values that it looks at."""

    def __init__(
        self, projected: Floats, groups: Sequence[Group], mixed: Floats, kernels: WholeKernels
    ) -> None:
        """Where the token's queries (scaled by 1 / √D), keys and values will lie, float32 [H + 2 KV, D], and
        where the result goes, float32 [H, D]. `groups` says which query heads read which KV head.
        """
        self._projected, self._groups, self._mixed, self._kernels = projected, groups, mixed, kernels
        self._turned = np.empty_like(projected)
        self._make_room(1)

    def __call__(self, entries: Entries, slot: int, t: int) -> None:
        """`slot` is the token's place in the cache, which then holds `t`."""
        keys, values, stored = entries
        assert stored is not None
        heads, kv = len(self._mixed), len(keys)
        spread(self._projected[: heads + kv], out=self._turned[: heads + kv])
        self._turned[heads + kv :] = self._projected[heads + kv :]
        levels, scales = whole_numbers(self._turned)
        keys[:, slot], values[:, :, slot] = levels[heads : heads + kv], levels[heads + kv :]
        stored[:, :, slot] = scales[heads:].reshape(2, kv)
        if t > self._room:
            self._make_room(2 * t)
        for head, start, stop in self._groups:
            key_scales, value_scales = stored[:, head, :t]
            weights = self._weights[: (stop - start) * t].reshape(-1, t)
            full = start + -(-(stop - start) // TOGETHER) * TOGETHER  # with some of the next rows
            dots = self._kernels.product(keys[head, :t], levels[start:full])[:, : stop - start]
            logarithms = np.log(value_scales)
            self._kernels.scaled(dots.T, scales[start:stop], key_scales, logarithms, weights)
            weights -= np.maximum.reduce(weights, axis=1, keepdims=True) - LARGEST
            np.exp(weights, out=weights)
            totals = weights @ (1 / value_scales[:, None])
            mixed = self._mixed[start:stop]
            self._mix(weights, values[head], mixed)
            mixed /= totals

    def _mix(self, weights: Floats, values: npt.NDArray[np.int8], out: Floats) -> None:
        """p v: float32 [h, t], up to e^`LARGEST`, which change, and int8 [D, t or more] → float32 [h, D]."""
        h, t = weights.shape
        rounded = self._rounded[: h * t].reshape(h, t)
        digits = self._digits[: 2 * h * t].reshape(2 * h, t)
        weights += np.float32(0.5)  # what follows cuts off
        np.copyto(rounded, weights, casting="unsafe")
        np.copyto(digits[h:], rounded, casting="unsafe")  # the lower byte, −128 to 127 …
        rounded += np.int16(128)  # … which is what the upper one makes up for
        rounded >>= np.int16(8)
        np.copyto(digits[:h], rounded, casting="unsafe")
        sums = self._kernels.product(values[:, : min(t, LONGEST)], digits[:, :LONGEST]).astype(np.float32)
        for low in range(LONGEST, t, LONGEST):
            high = min(low + LONGEST, t)
            sums += self._kernels.product(values[:, low:high], digits[:, low:high])
        np.multiply(sums[:, :h].T, np.float32(256), out=out)
        out += sums[:, h:].T

    def _make_room(self, t: int) -> None:
        widest = max((stop - start for _, start, stop in self._groups), default=0)
        self._room = t
        self._weights = np.empty(widest * t, np.float32)
        self._rounded = np.empty(widest * t, np.int16)
        self._digits = np.empty(2 * widest * t, np.int8)
