"""What a model's experts were used for lately, kept between sessions: a few kilobytes, disposable."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from smallchat.experts.heat import FULL, Floats

_LIMIT = 1 << 20


def save(path: Path, table: Floats) -> None:
    """Keep a heat table, float32 [layers, experts], in half precision. Where that fails, the next start is
    not warm, no more."""
    made = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with made.open("wb") as file:
            np.save(file, table.astype(np.float16))
        made.replace(path)


def load(path: Path, shape: tuple[int, int]) -> Floats | None:
    """What was kept; None where there is nothing, or nothing sound, for a model of this shape."""
    try:
        if path.stat().st_size > _LIMIT:
            return None
        with path.open("rb") as file:
            table = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if table.shape != shape or table.dtype != np.float16:
        return None
    found: Floats = table.astype(np.float32)
    return found if bool((found >= 0).all() and (found <= 2 * FULL).all()) else None
