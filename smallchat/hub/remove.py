"""Takes a model off this disk."""

from __future__ import annotations

from pathlib import Path

from smallchat.errors import ModelError
from smallchat.hub.installed import BUILTIN, HUB, Installed


def remove(found: Installed) -> int:
    """Delete a file; bytes that came free. In the hub's cache, its blob goes where nothing else names it.

    Raises `ModelError` for the model that smallchat ships, and for a file that cannot be deleted.
    """
    if found.place == BUILTIN:
        raise ModelError("The built-in model belongs to smallchat", "Uninstall smallchat to be rid of it")
    blob = found.path.resolve()
    try:
        found.path.unlink()
        if found.place != HUB or blob == found.path:
            return found.size
        if any(other.is_symlink() and other.resolve() == blob for other in _entries(found.path)):
            return 0
        blob.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(
            f"{found.path} cannot be deleted: {error.strerror}", "Check its permissions"
        ) from None
    return found.size


def _entries(path: Path) -> list[Path]:
    """What the snapshots of the repository of `path` hold."""
    snapshots = next((parent for parent in path.parents if parent.name == "snapshots"), path.parent)
    return list(snapshots.rglob("*.gguf"))
