"""`smallchat` without a command: the app."""

from __future__ import annotations

import sys
from dataclasses import replace

from smallchat.commands.resolve import MissingModelError, load_options
from smallchat.engine.client import LoadOptions, client_for
from smallchat.paths import builtin_model
from smallchat.settings import BUILTIN, Settings, UsageError


def run(settings: Settings) -> None:
    """Open the app, and end with its exit code. Raises `UsageError` where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("The app needs a terminal", 'For one answer use: smallchat ask "…"')
    if settings.inline:
        from smallchat.commands import inline

        sys.exit(inline.run(settings, _options(settings), client_for(settings)))
    from smallchat.tui import app, keys, themes

    keys.remapped(settings.keys)  # what is wrong is told before the app opens
    themes.at_start(settings.theme)
    if settings.notes is not None:
        from smallchat.notes.folder import open_folder

        open_folder(settings.notes)  # a wrong folder is told before the app opens
    wanted = None
    try:
        options = _options(settings)
    except MissingModelError as error:
        wanted = (error.name, error.reference)
        options = load_options(replace(settings, model=BUILTIN))
    sys.exit(app.run(settings, options, wanted))


def _options(settings: Settings) -> LoadOptions:
    """What to load; a server has its own models. Raises `ModelError`."""
    return LoadOptions(builtin_model()) if settings.endpoint else load_options(settings)
