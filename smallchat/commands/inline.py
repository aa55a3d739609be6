"""The chat without a full screen: lines in the terminal's own scrollback, saved like any other conversation.

Between two answers the terminal belongs to readline, so no event loop runs then; what the engine tells
meanwhile waits in its pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator

from smallchat import paths
from smallchat.chat.records import Turn
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.engine.checkpoints.forget import forget
from smallchat.engine.client import EngineClient, LoadOptions
from smallchat.engine.events import TooLong
from smallchat.errors import ExitCode, StorageError
from smallchat.settings import Settings
from smallchat.tui.dialogue import Dialogue
from smallchat.tui.keeper import SAVE_EVERY, Keeper
from smallchat.tui.text import count, one_line, plain

COMMANDS = {
    "/new": "new conversation",
    "/again": "another answer; the first is kept",
    "/continue": "go on with an answer that was stopped",
    "/help": "this",
    "/quit": "end (Ctrl+D too); everything is saved",
}
HELP = "\n".join(
    [
        *(f"{name:<10} {meaning}" for name, meaning in COMMANDS.items()),
        "Esc, Ctrl+C stop the answer; what was written stays",
        "\\          at the end of a line: the message goes on in the next one",
        "Everything else (notes, models, search, settings) is in the full screen: smallchat",
    ]
)
ASK, MORE = "› ", "… "
ROUNDS = 20
"""Of the loop: more than it takes from the end of the engine's process to the event that tells of it."""
ESCAPE, INTERRUPT = "\x1b", "\x03"
YES, NO = "y", "n"
# Whole sequences: an arrow key is more than the Esc that it begins with, and so is a letter pressed with Alt.
_KEY = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|\x1b[^\x1b]|.", re.DOTALL)


class Inline:
    """One conversation, line by line."""

    def __init__(self, settings: Settings, load: LoadOptions, client: EngineClient, store: Store) -> None:
        self._settings, self._load, self._store = settings, load, store
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        session = Session(store, settings.system)
        self._dialogue = Dialogue(client, session, settings.sampling(), self._changed.set)
        self._keeper = Keeper(self._dialogue)
        self._listening: asyncio.Task[None] | None = None
        self._readline()

    def run(self) -> int:
        """Talk until the user ends it; returns the exit code."""
        try:
            if not self._ready():
                return self._dialogue.failure.exit_code if self._dialogue.failure else int(ExitCode.ENGINE)
            while (text := self._read()) is not None:
                if not self._obey(text):
                    return int(ExitCode.OK)
            return int(ExitCode.OK)
        finally:
            self._loop.run_until_complete(self._close())
            self._loop.close()

    # What the user says

    def _read(self) -> str | None:
        """The next message; None: there is none any more."""
        lines: list[str] = []
        while True:
            try:
                lines.append(input(MORE if lines else ASK))
            except EOFError:
                _note("")
                return None
            except KeyboardInterrupt:
                _note("\nCtrl+D or /quit ends")
                lines = []
                continue
            if not lines[-1].endswith("\\"):
                return "\n".join(lines)
            lines[-1] = lines[-1][:-1]

    def _obey(self, text: str) -> bool:
        """Do what a line says; False: end."""
        command = text.strip()
        if command == "/quit":
            return False
        if command == "/help":
            _note(HELP)
        elif command == "/new":
            self._dialogue.leave(Session(self._store, self._settings.system))
            _note("A new conversation")
        elif command == "/again":
            self._answer(self._dialogue.again)
        elif command == "/continue":
            self._answer(self._dialogue.go_on)
        elif command in ("", "/") or (command.startswith("/") and command[1:].isalpha()):
            _note(f"There is no command {one_line(command)} here; /help lists them" if command else "")
        else:
            self._answer(lambda: self._keeper.send(plain(text)))
        return True

    # What the model says

    def _ready(self) -> bool:
        """Load the model, saying so; False where that fails, which is told."""
        _note(f"Loading {one_line(self._settings.endpoint or self._load.path.name)} …", end="")
        self._loop.run_until_complete(self._loaded())
        if self._dialogue.failure is not None:
            _note(f"\nsmallchat: {plain(self._dialogue.failure.what)}. {plain(self._dialogue.failure.cure)}")
            return False
        ready = self._dialogue.ready
        name = f"{ready.name} {ready.quantisation}".strip() if ready else ""
        _note(f"\r\x1b[K{plain(name)} · Esc stops an answer, /help tells more, Ctrl+D ends")
        return True

    async def _loaded(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        await self._dialogue.load(self._load)
        self._listening = asyncio.ensure_future(self._dialogue.listen())
        while self._dialogue.ready is None and self._dialogue.failure is None:
            await self._next_change()

    async def _heard(self) -> None:
        """Take what the engine told while readline had the terminal: it may have ended."""
        for _ in range(ROUNDS):
            await asyncio.sleep(0)

    def _answer(self, ask: Callable[[], None]) -> None:
        self._loop.run_until_complete(self._heard())
        if self._dialogue.failure is not None and not self._ready():
            return
        with _keys(self._loop, self._typed):
            self._loop.run_until_complete(self._stream(ask))

    def _typed(self, key: str) -> None:
        """A key while an answer comes, or while it is asked what may be left out."""
        if self._dialogue.too_long is not None:
            if key.lower() in (YES, NO, ESCAPE, INTERRUPT):
                self._dialogue.leave_out(key.lower() == YES)
        elif key in (ESCAPE, INTERRUPT):
            self._dialogue.stop()

    async def _stream(self, ask: Callable[[], None]) -> None:
        """Print the answer as it comes, and save it meanwhile."""
        importing = asyncio.ensure_future(asyncio.to_thread(_result_text))
        ask()
        dialogue = self._dialogue
        asked: TooLong | None = None
        last = dialogue.session.last
        printed = len(last.content) if last is not None and last.status == "streaming" else 0
        while True:
            answer = dialogue.session.last
            if answer is not None and answer.role == "assistant":
                print(plain(answer.content[printed:]), end="", flush=True)
                printed = len(answer.content)
            self._keeper.save_when_due()
            if dialogue.too_long is not None and dialogue.too_long is not asked:
                asked = dialogue.too_long
                many = count(asked.messages, "message")
                _note(f"The context is full: go on without the oldest {many}? Y leaves out, N gives up")
            if not dialogue.busy:
                break
            await self._next_change()
        result_text = await importing
        told = result_text(answer) if answer is not None and answer.role == "assistant" else ""
        print(flush=True)
        _note(told)
        if self._keeper.problem is not None:
            _note(f"Not saved: {plain(str(self._keeper.problem))}")

    async def _next_change(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), SAVE_EVERY)
        self._changed.clear()

    async def _close(self) -> None:
        self._dialogue.leave(self._dialogue.session)
        if self._listening is not None:
            self._listening.cancel()
        await self._dialogue.client.close()

    def _readline(self) -> None:
        """Editing, history and completion of the line, where Python has them."""
        try:
            import readline
        except ImportError:  # Windows: its own console edits the line
            return
        with contextlib.suppress(StorageError):
            for text in reversed(self._store.said()):
                readline.add_history(plain(text).replace("\n", " "))  # no NUL: it ends a text there
        readline.set_completer_delims(" ")
        readline.set_completer(_completed)
        readline.parse_and_bind("tab: complete")


def run(settings: Settings, load: LoadOptions, client: EngineClient) -> int:
    """Talk in the terminal without a full screen. Raises `StorageError` where nothing can be saved."""
    # Whoever ends it from outside: all is saved, and the terminal shows again what is typed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(ExitCode.OK)))
    store = Store(paths.conversations())
    try:
        return Inline(settings, load, client, store).run()
    finally:
        store.close()
        forget(store.purged)


@contextlib.contextmanager
def _keys(loop: asyncio.AbstractEventLoop, take: Callable[[str], None]) -> Iterator[None]:
    """While an answer comes: what is typed is taken at once, and not shown; Ctrl+C is a key too."""
    if os.name != "posix":
        before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(take, INTERRUPT))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    kept = termios.tcgetattr(terminal)

    def typed() -> None:
        for key in _KEY.findall(os.read(terminal, 1024).decode("utf-8", "replace")):
            take(key)

    tty.setcbreak(terminal)
    loop.add_reader(terminal, typed)
    loop.add_signal_handler(signal.SIGINT, take, INTERRUPT)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, kept)


def _completed(text: str, state: int) -> str | None:
    """As readline asks: the candidate of this number, None behind the last."""
    found = [name for name in COMMANDS if text and name.startswith(text)]
    return found[state] if state < len(found) else None


def _result_text() -> Callable[[Turn], str]:
    """Behind the answer: the widget's module needs Textual."""
    from smallchat.tui.widgets.transcript.turn import result_text

    return result_text


def _note(text: str, end: str = "\n") -> None:
    """What is no answer goes to standard error, dim where that is a terminal with colours."""
    dim = sys.stderr.isatty() and "NO_COLOR" not in os.environ and text
    print(f"\x1b[2m{text}\x1b[0m" if dim else text, end=end, file=sys.stderr, flush=True)
