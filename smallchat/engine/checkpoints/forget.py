"""Removes what was kept of conversations that are deleted. Imports nothing heavy: the screen does it."""

from __future__ import annotations

import struct
from collections.abc import Collection

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
    try:
        for entry in Folder(paths.checkpoints(), 0).entries():
            with entry.path.open("rb") as file:
                head = file.read(OWNED.size)
            if len(head) == OWNED.size and OWNED.unpack(head)[1] in conversations:
                remove(entry.path)
                removed += 1
    except OSError:
        pass
    return removed
