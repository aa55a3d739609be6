"""Waiting on conditions, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Return as soon as something is true; fails where it never becomes so."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail("waited in vain")
        time.sleep(0.01)
