"""`smallchat` without a command: the app."""

from __future__ import annotations

import sys
from dataclasses import replace

from smallchat.commands.resolve import MissingModelError, load_options
from smallchat.engine.client import LoadOptions
from smallchat.paths import builtin_model
from smallchat.settings import BUILTIN, Settings, UsageError


def run(settings: Settings) -> None:
    """Open the app, and end with its exit code. Raises `UsageError` where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("The app needs a terminal", 'For one answer use: smallchat ask "…"')
    from smallchat.tui import app, keys

    keys.remapped(settings.keys)  # wrong keys are told before the app opens
    if settings.notes is not None:
        from smallchat.notes.folder import open_folder

        open_folder(settings.notes)  # a wrong folder is told before the app opens
    wanted = None
    try:
        # A server has its own models.
        options = LoadOptions(builtin_model()) if settings.endpoint else load_options(settings)
    except MissingModelError as error:
        wanted = (error.name, error.reference)
        options = load_options(replace(settings, model=BUILTIN))
    sys.exit(app.run(settings, options, wanted))
