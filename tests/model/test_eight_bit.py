"""One token's attention in whole numbers, against the formula in float64."""

from __future__ import annotations

import numpy as np
import pytest

from smallchat.kernels.quants import SMALLEST, whole_numbers
from smallchat.kernels.whole_numbers import NumpyWholeKernels, choose
from smallchat.model import eight_bit
from smallchat.model.attention import Group
from smallchat.model.eight_bit import EightBitAttention
from smallchat.model.kv_cache import Entries, spread, token_bytes

SIZE, KV, SLOTS = 24, 2, 320
GROUPS = (Group(0, 0, 3), Group(1, 3, 4))


class Case:
    """A cache of `SLOTS` random tokens, four query heads, and what the next token gives."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.entries = Entries.within(
            np.zeros(SLOTS * token_bytes(KV, SIZE, "q8"), np.uint8), SLOTS, KV, SIZE, "q8"
        )
        k, v = rng.normal(0, 1, (2, SLOTS, KV, SIZE)).astype(np.float32)
        v *= 10.0 ** rng.uniform(-2, 2, (SLOTS, 1, 1)).astype(np.float32)
        self.entries.write(slice(None), Entries.of(k, v, "q8"))
        self.projected = rng.normal(0, 1, (4 + 2 * KV, SIZE)).astype(np.float32)
        self.mixed = np.empty((4, SIZE), np.float32)

    def right(self, slot: int, t: int) -> np.ndarray:
        """Of what is stored and of rounded queries, with the new token in its place."""
        turned = self.projected.copy()
        turned[: 4 + KV] = spread(turned[: 4 + KV])
        levels, scales = whole_numbers(turned)
        rounded = (levels * scales[:, None].astype(np.float64))[:, None]
        k, v, stored = (np.array(part, np.float64) for part in self.entries)
        k, v = k * stored[0, :, :, None], v.transpose(0, 2, 1) * stored[1, :, :, None]
        k[:, slot], v[:, slot] = rounded[4 : 4 + KV, 0], rounded[4 + KV :, 0]
        out = []
        for head, start, stop in GROUPS:
            for query in rounded[start:stop, 0]:
                weights = np.exp(k[head, :t] @ query)
                out.append(weights @ v[head, :t] / weights.sum())
        return np.array(out)


@pytest.mark.parametrize("kernels", [NumpyWholeKernels(), choose()], ids=["numpy", "chosen"])
@pytest.mark.parametrize(("slot", "t"), [(0, 1), (40, 41), (319, 320), (7, 320)])
def test_it_is_the_formula(kernels, slot, t):
    case = Case(slot)
    right = case.right(slot, t)
    EightBitAttention(case.projected, GROUPS, case.mixed, kernels)(case.entries, slot, t)
    assert np.abs(case.mixed - right).max() < 2e-4 * np.abs(right).max()


def test_many_small_weights_count_beside_a_large_one():
    """300 that are each a thousandth of the first: together they move what is mixed by a quarter."""
    case = Case(1)
    case.entries.keys[:] = 0
    case.entries.keys[:, 0] = np.rint(spread(np.ones(SIZE, np.float32)) * 50)  # of a key of ones
    case.entries.scales[0] = 1 / 50
    case.projected[:4] = np.log(1000) / SIZE
    right = case.right(300, 301)
    EightBitAttention(case.projected, GROUPS, case.mixed, choose())(case.entries, 300, 301)
    assert np.abs(case.mixed - right).max() < 1e-3 * np.abs(right).max()


def test_a_longer_context_is_mixed_in_parts(monkeypatch):
    """In one part the sums of 32 bits would overflow."""
    case = Case(2)
    right = case.right(250, 251)
    monkeypatch.setattr(eight_bit, "LONGEST", 100)
    EightBitAttention(case.projected, GROUPS, case.mixed, choose())(case.entries, 250, 251)
    assert np.abs(case.mixed - right).max() < 2e-4 * np.abs(right).max()


def test_values_of_zero_mix_to_zero():
    case = Case(3)
    case.entries.values[:] = 0
    case.entries.scales[1] = SMALLEST
    case.projected[4 + KV :] = 0
    with np.errstate(all="ignore"):  # as `Decoder.forward` does
        EightBitAttention(case.projected, GROUPS, case.mixed, choose())(case.entries, 9, 10)
    assert np.abs(case.mixed).max() == 0


def test_a_number_that_is_none_stays_one():
    """It is for the sampler to say so."""
    case = Case(4)
    case.projected[0, 0] = np.nan
    with np.errstate(all="ignore"):
        EightBitAttention(case.projected, GROUPS, case.mixed, choose())(case.entries, 9, 10)
    assert np.isnan(case.mixed[0]).all()
