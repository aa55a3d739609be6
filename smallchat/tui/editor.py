"""The message in the user's own editor."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from textual.app import App, SuspendNotSupported

from smallchat.errors import SmallchatError

_FALLBACKS = ("nano", "vi", "notepad")


def edit(app: App[object], text: str) -> str:
    """`text` as it comes back from the editor, which has the whole terminal meanwhile.

    Raises `SmallchatError` where no editor can be run; the text is then as it was.
    """
    command = _editor()
    with tempfile.TemporaryDirectory(prefix="smallchat-") as folder:
        file = Path(folder) / "message.md"
        file.write_text(text, encoding="utf-8", errors="replace")
        try:
            with app.suspend():
                code = subprocess.run([*command, str(file)], check=False).returncode
        except (OSError, SuspendNotSupported) as error:
            raise SmallchatError(f"The editor {command[0]} does not run: {error}", "Set EDITOR") from error
        if code:
            raise SmallchatError(
                f"The editor {command[0]} ended with code {code}", "The message is as it was"
            )
        return file.read_text(encoding="utf-8", errors="replace").removesuffix("\n")


def _editor() -> list[str]:
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if chosen:
        return shlex.split(chosen, posix=os.name == "posix")
    found = next((name for name in _FALLBACKS if shutil.which(name)), None)
    if found is None:
        raise SmallchatError("No editor is set", "Set the environment variable EDITOR")
    return [found]
