"""Files that the user asked for by name."""

from __future__ import annotations

from pathlib import Path

from smallchat.settings import UsageError


def meant(name: str | Path) -> Path:
    """The place that `name` means, which may begin at a home folder ("~"). Raises `UsageError`."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{name} is in no home folder that is known", "Give the whole path") from error


def exists(path: Path) -> bool:
    """Whether something is there, as far as that can be seen: its folder may be closed, its name too long."""
    try:
        return path.exists()
    except OSError:
        return False


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, its last line ended. Raises `UsageError`."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else text + "\n")
    except FileExistsError:
        raise UsageError(f"{path} is there already", "Give another name; nothing is overwritten") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "Give another place") from None
