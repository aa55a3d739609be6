"""The app: a table of contents. The chat is in `screens/chat.py`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.filter import Monochrome, NoColor

from smallchat import paths
from smallchat.chat.failures import set_aside
from smallchat.chat.store import MEMORY, Store
from smallchat.engine.checkpoints.forget import forget
from smallchat.engine.client import SCREEN_BYTES, EngineClient, LoadOptions, client_for
from smallchat.errors import ExitCode, StorageError
from smallchat.settings import Settings
from smallchat.tui import clipboard, faults, keys, themes
from smallchat.tui.keyboard import InTurn
from smallchat.tui.screens.chat import ChatScreen
from smallchat.tui.screens.fetch import QUIT, FetchScreen
from smallchat.tui.screens.problem import storage_problem
from smallchat.tui.text import count

if TYPE_CHECKING:
    from smallchat.hub.known import Reference


class SmallchatApp(faults.Guarded, InTurn):
    """An engine, a file of conversations, and one screen for both."""

    TITLE = "smallchat"
    CSS_PATH = [f"styles/{area}.tcss" for area in ("chat", "sidebar", "transcript", "panel", "dialogs")]  # noqa: RUF012
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (70, "-full")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high")]  # noqa: RUF012

    def __init__(
        self,
        settings: Settings,
        load: LoadOptions,
        client: EngineClient,
        store_path: Path,
        wanted: tuple[str, Reference] | None = None,
    ) -> None:
        """`wanted`: a model to be fetched first, by name and what that means; `load` is for going without."""
        super().__init__()
        self._wanted = wanted
        self.faults: list[str] = []
        """Faults of our own that were told in this run."""
        self._settings = settings
        self._load = replace(load, beside=SCREEN_BYTES)
        self._client = client
        self._store_path = store_path
        self._store: Store | None = None
        self.set_keymap(keys.remapped(settings.keys))
        for theme in themes.THEMES:
            self.register_theme(theme)
        # Textual's own themes lack the colours that the panel is drawn with.
        for name in self.available_themes.keys() - {theme.name for theme in themes.THEMES}:
            self.unregister_theme(name)
        self._kept_theme = themes.at_start(settings.theme)
        self.theme = self._kept_theme

    def watch_theme(self) -> None:
        """Keep what was chosen for the next start, and see to NO_COLOR.

        On the terminal's own ground, greys would be black on black: Textual chooses between greys and no
        colour at all before it knows the theme.
        """
        if self.theme != self._kept_theme:
            self._kept_theme = self.theme
            try:
                themes.remember(self.theme)
            except OSError as error:
                what = f"The colours are not kept for the next start: {error.strerror or error}"
                self.notify(what, severity="warning", markup=False)
        kept = [one for one in self._filters if not isinstance(one, Monochrome | NoColor)]
        grey = [NoColor() if self.native_ansi_color else Monochrome()] if self.no_color else []
        self._filters = [*kept, *grey]

    async def on_mount(self) -> None:
        """Open the conversations; where they cannot be read, ask how to go on."""
        with contextlib.suppress(NotImplementedError):  # Windows
            # Else the shell would go on within our screen.
            quit_now = partial(self.call_later, self.action_quit)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, quit_now)
        try:
            self._begin(Store(self._store_path))
        except StorageError as error:
            self.push_screen(storage_problem(error), self._resolve)

    async def on_unmount(self) -> None:
        """End the engine and close the file."""
        await self._client.close()
        if self._store is not None:
            self._store.close()
            forget(self._store.purged)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy behind the screen, and say what was done: see `clipboard`."""
        self._clipboard = text
        self.run_worker(self._copy(text), group="clipboard", exclusive=True)

    async def _copy(self, text: str) -> None:
        way = await asyncio.to_thread(clipboard.with_tool, text)
        if way is None and self._driver is not None:
            self._driver.write(clipboard.for_terminal(text))
            way = "through the terminal"
        self.notify(f"Copied {count(len(text), 'character')} ({way})", markup=False)

    async def action_quit(self) -> None:
        """Quit. Asks nothing and loses nothing."""
        for screen in self.screen_stack:
            if isinstance(screen, ChatScreen):
                screen.leave()
        self.exit()

    def _resolve(self, way: str | None) -> None:
        if way == "quit":
            self.exit(return_code=int(ExitCode.STORAGE))
            return
        try:
            if way == "new":
                set_aside(self._store_path)
            self._begin(Store(self._store_path if way == "new" else MEMORY))
        except StorageError as error:
            self.push_screen(storage_problem(error), self._resolve)

    def _begin(self, store: Store) -> None:
        self._store = store
        forget(store.purged)
        if self._wanted is not None:
            self.push_screen(FetchScreen(*self._wanted), self._fetched)
        else:
            self._chat(store)

    def _fetched(self, way: Path | str | None) -> None:
        if way == QUIT or self._store is None:
            self.exit(return_code=int(ExitCode.MODEL))
            return
        if isinstance(way, Path):
            self._load = replace(self._load, path=way, demo=False)
        self._chat(self._store)

    def _chat(self, store: Store) -> None:
        self.push_screen(ChatScreen(self._settings, self._load, self._client, store))

    def _handle_exception(self, error: Exception) -> None:
        """What no guard caught ends the app: in one line, with the traceback in the log."""
        faults.write_down(error)
        self.faults.append(faults.one_line(error))
        self.exit(return_code=int(ExitCode.UNEXPECTED), message=faults.one_line(error))


def run(settings: Settings, load: LoadOptions, wanted: tuple[str, Reference] | None = None) -> int:
    """Run the app on a real worker or server until the user quits; returns the exit code."""
    app = SmallchatApp(settings, load, client_for(settings), paths.conversations(), wanted)
    app.run()
    return app.return_code or int(ExitCode.OK)
