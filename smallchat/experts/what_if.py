"""What another budget would give: from the experts that tokens used, the hit rate of every number of slots.

One pass serves all sizes (Mattson, Gecsei, Slutz, Traiger: Evaluation techniques for storage hierarchies,
1970): where the choice of what leaves follows an order that does not depend on the size, a larger cache holds
all that a smaller one holds. So one stack of all experts tells what each size holds: size n the first n. The
order is that of `smallchat.experts.heat`: the least heat less the way to the next use leaves first, and what
the layer now entered uses stays. Distances in a least recently used stack would not do: with fewer slots than
a token's sweep they find nothing, where this order finds a third.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from smallchat.experts.heat import FULL, Floats, Heat

Ints = npt.NDArray[np.int64]

_LARGEST = FULL + 3
"""Above every order: heat less a way, from −2 on, moved up by 2."""


class HitCurve:
    """Replays routed tokens, a few at a time, as a cache of every size at once.

    What is counted is what a decoder would find in memory as it enters a layer; guesses that are read ahead
    are not simulated. Takes 0.7 ms a token of the 4B's shape, 2.5 ms of the 21B's (one core of Zen 4).
    """

    def __init__(self, layers: int, experts: int, heat: Floats | None = None) -> None:
        """`heat`, float32 [layers, experts], is what was used before (`Heat.table`): each cache then starts
        with what is hottest, as it does behind a prompt. Without it they start full of any experts.
        """
        self._layers, self._experts = layers, experts
        self._heat = Heat(layers, experts)
        if heat is not None:
            self._heat.table[:] = np.clip(heat, 0, FULL)
        size = layers * experts
        bits = size.bit_length()
        # An expert's place in the order, as one whole number: heat less way first, then its own number. So
        # they all differ, NumPy compares them at once, and each tells whose it is.
        self._numbers = np.arange(size)
        self._bits, self._mask = bits, (1 << bits) - 1
        self._scale = 2.0 ** int(np.floor(np.log2((1 << (62 - bits)) / _LARGEST)))
        self._sweep = int(self._scale) << bits
        self._ways = np.repeat(np.arange(layers) / layers, experts)
        self._least = np.empty(size, np.int64)
        self._stack: Ints = np.sort(self._places())[::-1] & self._mask
        self._found = np.zeros(size, np.int64)  # uses by their place in the stack
        self._uses = self._tokens = 0

    @property
    def tokens(self) -> int:
        """Tokens counted."""
        return self._tokens

    def take(self, tokens: Ints) -> None:
        """The next tokens used these experts: int64 [n, layers, k], those of a layer all different."""
        for token in tokens:
            self._pass(token)

    def forget_counts(self) -> None:
        """Count anew from here on, with the caches as they are: what came before was to fill them."""
        self._found[:] = 0
        self._uses = self._tokens = 0

    def hit_rate(self, slots: int) -> float | None:
        """Share of uses that a cache of so many slots finds; None before the first token.

        `slots` must be at least k: a layer's experts are in memory together.
        """
        return float(self._found[:slots].sum() / self._uses) if self._uses else None

    def _places(self) -> Ints:
        """Each expert's place in the order at the start of a token, int64 [layers · experts].

        As layer follows layer, all ways shrink alike, and the order stays, except that the layer which is
        entered falls back by a whole sweep.
        """
        places = ((self._heat.table.ravel() - self._ways + 2) * self._scale).astype(np.int64)
        return places << self._bits | self._numbers

    def _pass(self, token: Ints) -> None:
        places, experts = self._places(), self._experts
        for layer, used in enumerate(token):
            places[layer * experts : (layer + 1) * experts] -= self._sweep
            own = layer * experts + used
            kept = places[own]
            pinned = own | 1 << 62
            places[own] = pinned
            stack = places[self._stack]
            for expert in pinned:
                self._reference(stack, expert)
            np.bitwise_and(stack, self._mask, out=self._stack)
            places[own] = kept
        self._uses += token.size
        self._tokens += 1
        self._heat.token(token)

    def _reference(self, stack: Ints, expert: np.int64) -> None:
        """Bring `expert` to the top of `stack`, in place.

        Every cache that did not hold it gives up the first to leave of what it held. So from the top down to
        where the expert was, the least of all above moves on, past whatever is greater.
        """
        depth = int((stack == expert).argmax())
        self._found[depth] += 1
        if depth:
            least = np.minimum.accumulate(stack[:depth], out=self._least[:depth])
            np.maximum(least[:-1], stack[1:depth], out=stack[1:depth])
            stack[depth] = least[-1]
            stack[0] = expert
