"""The clipboard: by the system's own tool where there is one, else by asking the terminal (OSC 52)."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys

SECONDS = 3.0
"""A tool that hangs, as one without its display, must not keep the text from the terminal."""
SCREEN_CHUNK = 700
"""GNU screen passes on at most 768 bytes at a time."""


def with_tool(text: str) -> str | None:
    """Give `text` to the first tool that takes it; its name, or None where none did. Never raises.

    Each tool is a program that reads standard input. Over SSH, only the terminal knows the right clipboard.
    """
    for command in tools():
        try:
            subprocess.run(
                command,
                input=text.encode("utf-8", "replace"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return command[0]
    return None


def tools() -> list[list[str]]:
    """Commands of this machine that may take a text, the best first."""
    far = "SSH_CONNECTION" in os.environ or "SSH_TTY" in os.environ
    candidates = []
    if "WAYLAND_DISPLAY" in os.environ:
        candidates.append(["wl-copy"])
    if "DISPLAY" in os.environ:
        candidates += [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
    if sys.platform == "darwin" and not far:
        candidates.append(["pbcopy"])
    if (sys.platform == "win32" or "WSL_DISTRO_NAME" in os.environ) and not far:
        candidates.append(["clip.exe"])
    if "TMUX" in os.environ:
        # -w hands it on to the terminal that tmux runs in, without its leave for passing sequences through.
        candidates.append(["tmux", "load-buffer", "-w", "-"])
    return [command for command in candidates if shutil.which(command[0])]


def for_terminal(text: str) -> str:
    """What makes a terminal put `text` into its clipboard (OSC 52), wrapped for tmux and GNU screen."""
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    sequence = f"\x1b]52;c;{encoded}\x07"
    if "TMUX" in os.environ:
        return f"\x1bPtmux;{sequence.replace(chr(27), chr(27) * 2)}\x1b\\"
    if "STY" in os.environ:
        pieces = [sequence[at : at + SCREEN_CHUNK] for at in range(0, len(sequence), SCREEN_CHUNK)]
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return sequence
