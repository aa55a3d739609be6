"""What the engine counts while it works: expert use, heat, speed; and its memory by use."""

from __future__ import annotations

import contextlib
import functools
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import psutil

from smallchat.engine.events import (
    HEAT_FULL,
    IN_MEMORY,
    ON_DISK,
    READING,
    USED,
    Memory,
    Storage,
    Telemetry,
)
from smallchat.engine.forecast import Forecast, what_if
from smallchat.experts.cache import CachedExperts
from smallchat.experts.heat import FULL, Heat

if TYPE_CHECKING:
    from smallchat.engine.engine import Engine

LEAST_READ_SECONDS = 0.01
"""Of reading are needed to tell a speed."""
SPEED_SECONDS = 2.0
"""Decode speed is that of the tokens of this long."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What the engine has done since it was loaded; the difference of two is what a run took."""

    read_bytes: int
    """Bytes of experts read from the file; 0 where it is mapped: then the system reads, and does not say."""
    wait_seconds: float
    """Time for which computing waited for such reads."""
    neuron_sparsity: float | None
    """Share of the neurons of used experts that were zero; None: not measured."""


class Tally:
    """Running counts of one engine; cheap enough to be kept at every layer of every token."""

    def __init__(self, layers: int, experts: int) -> None:
        self.layers = layers
        self.heat = Heat(layers, experts)
        self.forecast = Forecast(layers, experts)
        self.ever = np.zeros((layers, experts), bool)
        """bool [layers, experts]: used at least once."""
        self.last = np.zeros((layers, experts), bool)
        """bool [layers, experts]: used by the last token."""
        self.tokens = 0
        """That passed so far, of prompts and answers."""
        self.prompt_speed = 0.0
        self._disk_speed, self._read = 0.0, (0, 0.0)
        self._times: deque[tuple[float, float]] = deque()  # (when, seconds) of recent decoded tokens

    def layer(self, layer: int, experts: npt.NDArray[np.int64]) -> None:
        """A layer was entered with these experts, int64 [n tokens, k]."""
        self.forecast.layer(layer, experts, self.heat.table)
        self.heat.layer(layer, experts)
        self.tokens += 0 if layer else len(experts)
        self.ever[layer, experts.ravel()] = True
        self.last[layer] = False
        self.last[layer, experts[-1]] = True

    def token(self, experts: npt.NDArray[np.int64]) -> None:
        """One token passed all layers with these experts, int64 [layers, k]."""
        rows = np.arange(len(experts))[:, None]
        self.forecast.token(experts, self.heat.table)
        self.heat.token(experts)
        self.tokens += 1
        self.ever[rows, experts] = True
        self.last[:] = False
        self.last[rows, experts] = True

    def check(self) -> None:
        """Nothing is given up here; see `smallchat.model.decoder.Watcher`."""

    def prompt(self, tokens: int, seconds: float) -> None:
        """So many tokens of the prompt were computed in this time."""
        if tokens and seconds > 0:
            self.prompt_speed = tokens / seconds

    def decoded(self, seconds: float) -> None:
        """A token was decoded in this time."""
        now = time.monotonic()
        self.forecast.decoded(seconds)
        self._times.append((now, seconds))
        while self._times and self._times[0][0] < now - SPEED_SECONDS:
            self._times.popleft()

    def disk_speed(self, experts: CachedExperts[Any]) -> float:
        """Bytes a second of the reads since the last look, or of those before where there were none."""
        size, seconds = experts.read_bytes, experts.read_seconds
        if seconds - self._read[1] > LEAST_READ_SECONDS:
            self._disk_speed = (size - self._read[0]) / (seconds - self._read[1])
            self._read = size, seconds
        return self._disk_speed

    @property
    def decode_speed(self) -> float:
        """Tokens a second of the latest tokens; 0 before the first."""
        spent = sum(seconds for _, seconds in self._times)
        return len(self._times) / spent if spent else 0.0


def snapshot(engine: Engine) -> Telemetry:
    """The engine's state now. Takes a few milliseconds at the most."""
    tally = engine.tally
    resident = engine.experts.resident()
    states = np.where(tally.last, USED, np.where(resident, IN_MEMORY, ON_DISK)).astype(np.uint8)
    if isinstance(engine.experts, CachedExperts):
        states[engine.experts.reading()] = READING
    share = tally.heat.table / FULL
    heat = np.where(tally.ever, np.clip(share / HEAT_FULL * 255, 1, 255), 0).astype(np.uint8)
    return Telemetry(
        memory=memory(engine),
        context_used=engine.context_used,
        context=engine.context,
        layers=engine.config.layers,
        expert_count=engine.config.experts,
        experts=states.tobytes(),
        heat=heat.tobytes(),
        prompt_speed=tally.prompt_speed,
        decode_speed=tally.decode_speed,
        hit_rate=engine.experts.hit_rate,
        storage=storage(engine),
        neuron_sparsity=engine.decoder.neuron_sparsity,
        what_if=what_if(engine),
    )


_process = functools.lru_cache(maxsize=64)(psutil.Process)
"""To open one takes longer than to ask it."""


def storage(engine: Engine) -> Storage | None:
    """What the expert cache did; None where the system does the paging."""
    experts = engine.experts
    if not isinstance(experts, CachedExperts):
        return None
    return Storage(*experts.counts, experts.read_bytes, engine.tally.disk_speed(experts))


def memory(engine: Engine) -> Memory:
    """Memory of the processes that compute by use, in bytes.

    `weights` and `experts` are those of the model that are in memory, also where the page cache holds them;
    `rest` is what remains of the processes' own memory beside them and the KV cache.
    """
    own = 0
    for number in engine.processes:
        with contextlib.suppress(psutil.Error):  # a rank that has ended is told elsewhere
            info = _process(number).memory_info()
            # Pages of the mapped file count as shared; the rest of a process is its own.
            own += info.rss - getattr(info, "shared", 0)
    experts, kv = engine.experts.resident_bytes(), engine.kv_bytes
    # With several ranks it lies in memory that they share, and is not in `own`; experts never are.
    rest = max(0, own - kv) if engine.threads == 1 else own
    weights = engine.plan.weights
    return Memory(weights, experts, kv, rest, weights + experts + kv + rest, engine.budget)
