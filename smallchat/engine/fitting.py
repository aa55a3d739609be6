"""What a model gets on this machine: context, ranks; refused where it cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from smallchat.errors import BudgetError, ContextError
from smallchat.model.config import ModelConfig
from smallchat.settings import DEFAULT_CONTEXT

SMALL_MODEL = 50_000_000
"""Below so many active parameters a token is computed sooner by one process than handed to two."""
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


def fitting_context(context: int, config: ModelConfig, path: Path) -> int:
    """Tokens of context: those asked for, or by default at most as many as the model was made for.

    Raises `ContextError` where more are asked for than that.
    """
    if context > config.context and context != DEFAULT_CONTEXT:
        what = f"A context of {context} tokens is larger than that of {path}"
        raise ContextError(what, f"Give --context {config.context} or less")
    return min(context, config.context)


def refuse_larger_than_memory(kv: int, context: int) -> None:
    """Raises `BudgetError` for a KV cache of more bytes than this machine has memory."""
    total = psutil.virtual_memory().total
    if kv > total:
        what = f"A context of {context} tokens needs {kv >> 20} MiB; this machine has {total >> 20} MiB"
        raise BudgetError(what, "Give a smaller --context")
