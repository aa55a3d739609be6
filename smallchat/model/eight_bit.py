"""Attention of one token over an 8-bit KV cache, in products of whole numbers.

Queries are rounded to 8 bits as keys are. Weights are rounded to 16 bits, because a few large ones may stand
beside thousands of small ones that count together: two digits of 8 bits each, two rows of one product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from smallchat.kernels.quants import whole_numbers
from smallchat.kernels.whole_numbers import LONGEST, WholeProduct
from smallchat.model.attention import Group, exponentials
from smallchat.model.kv_cache import Entries

Floats = npt.NDArray[np.float32]

LARGEST = np.float32(127 << 8)
"""What a head's largest weight becomes, so that its upper digit is no more than 127."""


class EightBitAttention:
    """Writes a token's key and value into the cache, and mixes the values that it looks at."""

    def __init__(
        self, projected: Floats, groups: Sequence[Group], mixed: Floats, product: WholeProduct
    ) -> None:
        """Where the token's queries (scaled by 1 / √D), keys and values will lie, float32 [H + 2 KV, D], and
        where the result goes, float32 [H, D]. `groups` says which query heads read which KV head.
        """
        self._projected, self._groups, self._mixed, self._product = projected, groups, mixed, product
        heads = len(mixed)
        self._totals, self._largest = np.empty((2, heads, 1), np.float32)
        self._make_room(1)

    def __call__(self, entries: Entries, slot: int, t: int) -> None:
        """`slot` is the token's place in the cache, which then holds `t`."""
        keys, values, stored = entries
        assert stored is not None
        heads, kv = len(self._mixed), len(keys)
        levels, scales = whole_numbers(self._projected)
        keys[:, slot], values[:, :, slot] = levels[heads : heads + kv], levels[heads + kv :]
        stored[:, :, slot] = scales[heads:].reshape(2, kv)
        if heads * t > self._weights.size:
            self._make_room(2 * t)
        weights = self._weights[: heads * t].reshape(heads, t)
        for group in self._groups:
            part, (head, start, stop) = weights[group.start : group.stop], group
            dots = self._product(keys[head, :t], levels[start:stop])
            np.multiply(dots.T, scales[start:stop, None], out=part, dtype=np.float32, casting="unsafe")
            part *= stored[0, head, :t]
        exponentials(weights, self._totals)
        for head, start, stop in self._groups:
            weights[start:stop] *= stored[1, head, :t]
        np.maximum.reduce(weights, axis=1, keepdims=True, out=self._largest)
        np.divide(LARGEST, self._largest, out=self._largest)
        weights *= self._largest
        weights += np.float32(0.5)  # what follows cuts off
        for head, start, stop in self._groups:
            self._mix(weights[start:stop], values[head], self._mixed[start:stop])
        self._totals *= self._largest
        self._mixed /= self._totals

    def _mix(self, weights: Floats, values: npt.NDArray[np.int8], out: Floats) -> None:
        """p v: float32 [h, t], of whole numbers up to `LARGEST`, and int8 [D, t or more] → float32 [h, D]."""
        h, t = weights.shape
        rounded = self._rounded[: h * t].reshape(h, t)
        digits = self._digits[: 2 * h * t].reshape(2 * h, t)
        np.copyto(rounded, weights, casting="unsafe")
        np.copyto(digits[h:], rounded, casting="unsafe")  # the lower byte, −128 to 127 …
        rounded += np.int16(128)  # … which is what the upper one makes up for
        rounded >>= np.int16(8)
        np.copyto(digits[:h], rounded, casting="unsafe")
        sums = self._product(values[:, : min(t, LONGEST)], digits[:, :LONGEST]).astype(np.float32)
        for low in range(LONGEST, t, LONGEST):
            high = min(low + LONGEST, t)
            sums += self._product(values[:, low:high], digits[:, low:high])
        np.multiply(sums[:, :h].T, np.float32(256), out=out)
        out += sums[:, h:].T

    def _make_room(self, t: int) -> None:
        heads = len(self._mixed)
        widest = max((stop - start for _, start, stop in self._groups), default=0)
        self._weights = np.empty(heads * t, np.float32)
        self._rounded = np.empty(widest * t, np.int16)
        self._digits = np.empty(2 * widest * t, np.int8)
