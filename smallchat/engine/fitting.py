"""What a model gets on this machine: context, ranks; refused where it cannot be had."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from smallchat.engine.loading import OpenModel
from smallchat.errors import BudgetError, ContextError
from smallchat.experts import budget
from smallchat.model.config import ModelConfig
from smallchat.model.kv_cache import TYPES, KVCache
from smallchat.settings import DEFAULT_CONTEXT, DEFAULT_KV, KVType

SMALL_MODEL = 50_000_000
"""Below so many active parameters a token is computed sooner by one process than handed to two."""
SHORTEST_CONTEXT = 512
KV_SHARE = 1 / 4
"""Of the memory for KV cache and experts goes to the first at the most, where no context is asked for."""
FREE_SHARE = 0.85
"""Of the memory that is free a model may take so much where no budget is given."""
BUDGET_CHUNK = 512
"""Tokens of a forward pass at the most within a budget: more would take memory from the experts."""
_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
"""What Linux tells of memory groups: which are ours, and each as a folder."""
MOST_RANKS = 8
"""More share the memory's speed without adding to it."""


def suitable_threads(active_parameters: int) -> int:
    """Ranks for a model here: one a physical processor that is ours, where they have enough to do."""
    if active_parameters < SMALL_MODEL:
        return 1
    cores = psutil.cpu_count(logical=False) or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    return min(cores, MOST_RANKS)


def fitting_context(
    context: int, config: ModelConfig, path: Path, room: int | None = None, kv: KVType = DEFAULT_KV
) -> int:
    """Tokens of context: those asked for, or by default at most as many as the model was made for, and as
    leave enough of `room`, the bytes for KV cache and experts, to the experts.

    Raises `ContextError` where more are asked for than the model was made for.
    """
    if context > config.context and context != DEFAULT_CONTEXT:
        what = f"A context of {context} tokens is larger than that of {path}"
        raise ContextError(what, f"Give --context {config.context} or less")
    fitting = min(context, config.context)
    if context != DEFAULT_CONTEXT:
        return fitting
    return context_within(room, fitting, lambda tokens: kv_bytes(config, tokens, kv))


def context_within(room: int | None, context: int, size: Callable[[int], int]) -> int:
    """Tokens of context, at most `context`, whose KV cache, of `size` bytes, leaves enough of `room` to the
    experts."""
    while room is not None and context > SHORTEST_CONTEXT and size(context) > room * KV_SHARE:
        context //= 2
    return context


def fitting_chunk(chunk: int, slots: int, config: ModelConfig) -> int:
    """Tokens of a forward pass: all experts that they may use in a layer are in memory together."""
    if slots >= config.experts:
        return min(chunk, BUDGET_CHUNK)
    return max(1, min(chunk, BUDGET_CHUNK, slots // config.experts_used))


def kv_bytes(config: ModelConfig, context: int, kv: KVType) -> int:
    """Bytes of the KV cache, of all ranks together, for so many tokens."""
    return KVCache.bytes_for(config.windows, context, config.kv_heads, config.head_size, kv)


def touched_kv_bytes(config: ModelConfig, tokens: int, context: int, kv: KVType) -> int:
    """Bytes of memory that the first `tokens` of a KV cache take: values lie token beside token, so that a
    page is taken for many tokens at once."""
    step = mmap.PAGESIZE // TYPES[kv].itemsize
    rounded = min(context, -(-tokens // step) * step)
    return (kv_bytes(config, tokens, kv) + kv_bytes(config, rounded, kv)) // 2


class MachineMemory(NamedTuple):
    """Bytes: all there is, and what can be had now."""

    total: int
    available: int


def machine_memory() -> MachineMemory:
    """This machine's memory, or what a container allows of it (Linux, both versions of its groups)."""
    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    for limit, used in _group():
        total, available = min(total, limit), min(available, max(0, limit - used))
    return MachineMemory(total, available)


def _group() -> Iterator[tuple[int, int]]:
    """Limit and use, without what can be given back, of every memory group that we are in: our own, and those
    that it lies in."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, kinds, where = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            base = _GROUPS / "memory" if kinds else _GROUPS
            own = base / where.lstrip("/")
            names = ("limit_in_bytes", "usage_in_bytes") if kinds else ("max", "current")
            # Inside of a container the group is mounted as the root of all: those below it are not there.
            for folder in (each for each in (own, *own.parents) if each.is_relative_to(base)):
                with contextlib.suppress(OSError, ValueError):
                    limit, used = (int((folder / f"memory.{name}").read_text()) for name in names)
                    stat = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                    cached = int(stat.get("total_inactive_file") or stat.get("inactive_file") or 0)
                    yield limit, used - cached


def memory_plan(limit: int | None, model: OpenModel, kv: int, threads: int, beside: int) -> budget.MemoryPlan:
    """How `limit` bytes are shared out, with a KV cache of `kv` bytes; the other meanings are those of
    `Engine.load`. Raises `BudgetError` where it is too small."""
    return budget.plan(
        *(limit, model.weights.dense_bytes, kv, model.layout),
        least=budget.least_slots(model.config.experts, model.config.experts_used),
        ranks=threads,
        beside=beside,
    )


def whole_bytes(model: OpenModel, threads: int, beside: int, kv: KVType) -> int:
    """Bytes of everything, with all experts in memory and the shortest context."""
    shortest = kv_bytes(model.config, min(SHORTEST_CONTEXT, model.config.context), kv)
    plan = memory_plan(None, model, shortest, threads, beside)
    return plan.weights + plan.kv + plan.rest + plan.experts * plan.slot


def fits(size: int) -> bool:
    """Whether so many bytes can be taken of what is free, with some left to other programs."""
    return size <= machine_memory().available * FREE_SHARE


def default_budget(everything: int) -> int | None:
    """The memory budget where none is asked for: none where `everything`, in bytes, fits into what is free;
    else a share of that, so that other programs keep theirs."""
    return None if fits(everything) else int(machine_memory().available * FREE_SHARE)


def larger_than_free(path: Path, free: int, threads: int) -> BudgetError:
    """Not even the smallest budget fits into the `free` bytes that are the default one."""
    less = "a smaller --context" if threads == 1 else f"fewer --threads than {threads}, a smaller --context"
    what = f"{path} does not fit into the {free >> 20} MiB of memory that are free for it"
    return BudgetError(what, f"Give {less}, or end other programs")


def refuse_larger_than_memory(kv: int, context: int) -> None:
    """Raises `BudgetError` for a KV cache of more bytes than this machine has memory."""
    total = machine_memory().total
    if kv > total:
        what = f"A context of {context} tokens needs {kv >> 20} MiB; this machine has {total >> 20} MiB"
        raise BudgetError(what, "Give a smaller --context")
