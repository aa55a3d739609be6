"""`smallchat` without a command: the app."""

from __future__ import annotations

import sys

from smallchat.commands.resolve import load_options
from smallchat.settings import Settings, UsageError


def run(settings: Settings) -> None:
    """Open the app, and end with its exit code. Raises `UsageError` where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("The app needs a terminal", 'For one answer use: smallchat ask "…"')
    options = load_options(settings)
    if settings.notes is not None:
        from smallchat.notes.folder import open_folder

        open_folder(settings.notes)  # a wrong folder is told before the app opens
    from smallchat.tui import app

    sys.exit(app.run(settings, options))
