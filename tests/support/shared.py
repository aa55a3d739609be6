"""Material that may lie beside a checkout and is no part of the project: tests skip without it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shared(*parts: str) -> Path:
    """A path beneath the folder beside the checkout. Skips the test where it does not exist."""
    path = ROOT / ".." / "shared" / Path(*parts)
    if not path.exists():
        pytest.skip(f"only where {Path(*parts)} lies beside the checkout")
    return path
