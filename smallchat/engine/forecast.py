"""What other budgets would give, from the tokens of this session: their experts, and what they cost here."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smallchat.engine.events import Estimate
from smallchat.experts.budget import least_slots
from smallchat.experts.cache import CachedExperts
from smallchat.experts.estimate import TYPICALLY_HIDDEN, Pace, hidden_share, ladder
from smallchat.experts.heat import Floats
from smallchat.experts.what_if import HitCurve

if TYPE_CHECKING:
    from smallchat.engine.engine import Engine

Ints = npt.NDArray[np.int64]

BACKLOG = 1024
"""Tokens that wait to be worked off, at the most: about a megabyte. The oldest are then left out."""
SLICE_SECONDS = 0.004
"""`work` returns after about this long."""
ENOUGH = 16
"""Tokens before which nothing is said."""
HALF_LIFE = 32
"""Tokens after which what one cost counts half."""
ANOTHER = 0.1
"""A number of slots that differs by more than this share is another budget: costs are noted anew."""
WORTH_SECONDS = 0.2e-3
"""Reading of less than that a token tells nothing of how reading hides."""


class Forecast:
    """Of one loaded model. While an answer comes, notes are taken; the rest is done in `work`, at leisure."""

    def __init__(self, layers: int, experts: int) -> None:
        self._shape = layers, experts
        self._curve: HitCurve | None = None
        self._waiting: deque[npt.NDArray[np.int16]] = deque(maxlen=BACKLOG)
        self._rows: list[Ints] = []  # of the token that now passes the layers
        self._slots = 0  # that the costs are of
        self._cached: CachedExperts[Any] | None = None
        self._before = self._counters()
        self._costs = np.zeros(5)  # weight, computing, waiting, bytes read, the disk's time for them
        self._fade = 0.5 ** (1 / HALF_LIFE)

    def token(self, experts: Ints, heat: Floats) -> None:
        """A decoded token used these experts, int64 [layers, k]; `heat`, float32 [layers, experts], is of the
        tokens before.
        """
        if self._curve is None:
            self._curve = HitCurve(*self._shape, heat)
        self._waiting.append(experts.astype(np.int16))

    def begin(self, experts: object) -> None:
        """From here on tokens cost what `experts` reads and waits; those of a mapped file do neither."""
        self._cached = experts if isinstance(experts, CachedExperts) else None
        self._before = self._counters()

    def decoded(self, seconds: float) -> None:
        """A token was decoded in this time, since `begin` or the last one."""
        now, before = self._counters(), self._before
        self._before = now
        waiting, size, reading = (now - before).tolist()
        self.spent(self.slots, max(seconds - waiting, 0.0), waiting, size, reading)

    @property
    def slots(self) -> int:
        """Experts that may be in memory at once."""
        layers, experts = self._shape
        return layers * experts if self._cached is None else self._cached.slots

    def layer(self, layer: int, experts: Ints, heat: Floats) -> None:
        """A layer was entered with these experts, int64 [n, k]; a pass of one token is that token."""
        if len(experts) != 1:
            self._rows = []
            return
        if not layer:
            self._rows = []
        self._rows.append(experts[0])
        if len(self._rows) == self._shape[0]:
            self.token(np.array(self._rows), heat)

    def spent(
        self, slots: int, computing: float, waiting: float, read_bytes: float, read_seconds: float
    ) -> None:
        """What one decoded token cost with so many slots in use: seconds of computing and of waiting for
        experts, bytes read, and seconds for which the disk was busy with them.
        """
        if abs(slots - self._slots) > ANOTHER * slots:
            self._costs[:] = 0
        self._slots = slots
        self._costs *= self._fade
        self._costs += (1.0, computing, waiting, read_bytes, read_seconds)

    def work(self) -> bool:
        """Work off some tokens, for `SLICE_SECONDS`; False: nothing is left to do."""
        end = time.perf_counter() + SLICE_SECONDS
        while self._waiting and self._curve is not None:
            self._curve.take(self._waiting.popleft()[None].astype(np.int64))
            if time.perf_counter() > end:
                break
        return bool(self._waiting)

    def estimates(self, budgets: Iterable[tuple[int, int]], token_bytes: float) -> tuple[Estimate, ...]:
        """What each of `budgets` (bytes, and the experts that fit) would give; empty until enough is known.

        `token_bytes` are those of a token's experts.
        """
        if self._curve is None or self._curve.tokens < ENOUGH:
            return ()
        pace, found = self._pace(token_bytes), []
        for size, holds in budgets:
            hits = self._curve.hit_rate(holds) or 0.0
            known = pace is not None and (hits == 1 or pace.read_seconds > 0)
            found.append(Estimate(size, hits, pace.tokens_per_second(hits) if pace and known else 0.0))
        return tuple(found)

    def _pace(self, token_bytes: float) -> Pace | None:
        """What tokens cost, so that it gives for the slots in use what was measured."""
        weight, computing, waiting, size, reading = self._costs.tolist()
        if not weight or self._curve is None:
            return None
        missing = 1 - (self._curve.hit_rate(self._slots) or 0.0)
        if reading / weight < WORTH_SECONDS or not missing:
            all_read = token_bytes * reading / size if size else 0.0
            return Pace(computing / weight, all_read, TYPICALLY_HIDDEN)
        # Guesses that were wrong are read too: where more is missing, more is guessed.
        return Pace(computing / weight, reading / weight / missing, hidden_share(reading, waiting))

    def _counters(self) -> npt.NDArray[np.float64]:
        """Seconds waited, bytes read, and the disk's seconds for them, since the model was loaded."""
        if self._cached is None:
            return np.zeros(3)
        return np.array([self._cached.wait_seconds, self._cached.read_bytes, self._cached.read_seconds])


def what_if(engine: Engine) -> tuple[Estimate, ...]:
    """What round budgets, and the present one, would give with this engine's context; smallest first."""
    plan, config, known = engine.plan, engine.config, engine.tally.forecast
    fixed = plan.weights + plan.kv + plan.rest
    whole = fixed + engine.weights.expert_bytes
    sizes = set(ladder(fixed + least_slots(config.experts, config.experts_used) * plan.slot, whole))
    slots = {size: replace(plan, budget=size).slots(engine.kv_bytes) for size in sizes}
    slots[whole] = plan.experts
    if engine.budget is not None:
        slots[engine.budget] = known.slots
    return known.estimates(
        sorted(slots.items()), engine.weights.expert_bytes * config.experts_used / config.experts
    )
