"""`smallchat` without a command: the app."""

from __future__ import annotations

import sys

from smallchat.commands.resolve import load_options
from smallchat.engine.client import LoadOptions
from smallchat.paths import builtin_model
from smallchat.settings import Settings, UsageError


def run(settings: Settings) -> None:
    """Open the app, and end with its exit code. Raises `UsageError` where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("The app needs a terminal", 'For one answer use: smallchat ask "…"')
    # A server has its own models.
    options = LoadOptions(builtin_model()) if settings.endpoint else load_options(settings)
    from smallchat.tui import app

    sys.exit(app.run(settings, options))
