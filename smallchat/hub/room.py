"""Whether what is to be written fits on its disk."""

from __future__ import annotations

import shutil
from pathlib import Path

SPARE = 64 << 20
"""Free space that is left."""
_MIB = 1 << 20


def lacking(what: str, size: int, folder: Path) -> str:
    """How much free space `what` needs where its `size` bytes, and some to spare, do not fit on the disk of
    `folder`; empty: they do.
    """
    needed, free = size + SPARE, shutil.disk_usage(folder).free
    if needed <= free:
        return ""
    # As `--mem` takes them, and rounded so that they never look alike.
    return f"{what} needs {-(-needed // _MIB)}M of free space, and the disk of {folder} has {free // _MIB}M"
