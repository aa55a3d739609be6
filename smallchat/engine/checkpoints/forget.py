"""Removes what was kept of conversations that are deleted. Imports nothing heavy: the screen does it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Collection
from pathlib import Path

from smallchat import paths
from smallchat.engine.checkpoints.folder import Folder, remove

MAGIC = b"smallKV2"
OWNED = struct.Struct("<8sQ")
"""How every block begins: the magic, and the number of the conversation that it was written for (0: none)."""


def forget(conversations: Collection[int]) -> int:
    """Remove the blocks of these conversations; how many. Never raises."""
    if not conversations:
        return 0
    removed = 0
    with contextlib.suppress(OSError):
        for entry in Folder(paths.checkpoints(), 0).entries():
            if _owner(entry.path) in conversations:
                remove(entry.path)
                removed += 1
    return removed


def _owner(block: Path) -> int | None:
    """The conversation that a block was written for; None: it has just vanished, or says nothing."""
    try:
        with block.open("rb") as file:
            head = file.read(OWNED.size)
    except OSError:
        return None
    return int(OWNED.unpack(head)[1]) if len(head) == OWNED.size else None
