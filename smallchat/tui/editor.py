"""The message in the user's own editor."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from textual.app import App, SuspendNotSupported

from smallchat.errors import SmallchatError
from smallchat.tui.attachments import AttachmentError, decoded

_PLUS_LINE = (
    "vi",
    "vim",
    "nvim",
    "view",
    "nano",
    "emacs",
    "emacsclient",
    "micro",
    "kak",
    "joe",
    "jed",
    "ne",
    "mg",
)
_COLON_LINE = {"code": ["--goto"], "codium": ["--goto"], "hx": [], "helix": [], "subl": [], "zed": []}
"""How editors are told of a line: `+LINE FILE`, or `FILE:LINE`."""
_FALLBACKS = ("nano", "vi", "notepad")


def edit(app: App[object], text: str) -> str:
    """`text` as it comes back from the editor, which has the whole terminal meanwhile.

    Raises `SmallchatError` where no editor can be run, or no text comes back; the text is then as it was. A
    file that holds something else than text in UTF-8 is left for the user, and the error says where.
    """
    command = _editor()
    try:
        with contextlib.ExitStack() as cleaning:
            folder = tempfile.mkdtemp(prefix="smallchat-")
            cleaning.callback(shutil.rmtree, folder, ignore_errors=True)
            file = Path(folder) / "message.md"
            file.write_text(text, encoding="utf-8", errors="replace")
            if code := _run(app, [*command, str(file)]):
                raise SmallchatError(
                    f"The editor {command[0]} ended with code {code}", "The message is as it was"
                )
            try:
                return decoded(str(file), file.read_bytes()).removesuffix("\n")
            except AttachmentError as error:
                cleaning.pop_all()  # what was typed is nowhere else
                raise SmallchatError(
                    error.what,
                    "The message is as it was, and that file is kept: save it as UTF-8, and paste it",
                ) from None
    except OSError as error:
        what = f"The file for the editor {command[0]} cannot be written or read: {error}"
        raise SmallchatError(what, "The message is as it was") from error


def open_at(app: App[object], file: Path, line: int) -> None:
    """The user's editor on `file`, at `line` where the editor is one that can be told so.

    Raises `SmallchatError` where no editor can be run.
    """
    _run(app, command_at(file, line))


def _run(app: App[object], command: Sequence[str]) -> int:
    """The code with which the editor ends. Raises `SmallchatError` where it does not run."""
    code: int | Exception
    try:
        code = _lend(app, command)
    except SuspendNotSupported as error:
        code = error
    if isinstance(code, Exception):
        raise SmallchatError(f"The editor {command[0]} does not run: {code}", "Set EDITOR") from code
    return code


def _lend(app: App[object], command: Sequence[str]) -> int | OSError:
    with app.suspend():  # an exception would leave the terminal with nobody
        try:
            return subprocess.run(command, check=False).returncode
        except OSError as error:
            return error


def command_at(file: Path, line: int) -> list[str]:
    """The command that opens `file` at `line`. Raises `SmallchatError` where no editor can be run."""
    command = _editor()
    name = Path(command[0]).stem.lower()
    if name in _PLUS_LINE:
        return [*command, f"+{line}", str(file)]
    if name in _COLON_LINE:
        return [*command, *_COLON_LINE[name], f"{file}:{line}"]
    return [*command, str(file)]


def _editor() -> list[str]:
    for name in ("VISUAL", "EDITOR"):
        if chosen := os.environ.get(name, "").strip():
            try:
                return shlex.split(chosen, posix=os.name == "posix")
            except ValueError as error:
                what = f"The environment variable {name} is no command ({error}): {chosen}"
                raise SmallchatError(what, f"Set {name} to an editor, as in {name}=nano") from None
    found = next((name for name in _FALLBACKS if shutil.which(name)), None)
    if found is None:
        raise SmallchatError("No editor is set", "Set the environment variable EDITOR")
    return [found]
