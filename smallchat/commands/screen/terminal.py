"""The real app in a pseudo-terminal: what is typed into it, and when what stands on its screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

import psutil

from smallchat.errors import EngineError
from smallchat.interpreter import PYTHON

COLUMNS, LINES = 120, 40
PATIENCE = 120.0
"""Seconds to wait for anything."""
_CONTROL = re.compile(rb"\x1b(?:\[[0-9;:?<>=$]*[@-~]|\][^\x07]*\x07|[^\[\]])")
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;:?<>=$]*|\][^\x07]*)?$")
"""Of a control sequence whose rest has not come yet."""


class Terminal:
    """The app in a terminal of 120 × 40 that answers nothing, as a slow line over SSH might."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start `smallchat` with these arguments and, beside this process's, these environment variables."""
        self._written = bytearray()
        self._arrived: list[tuple[int, float]] = []  # bytes in `_written` after each piece, and when it came
        self._changed = threading.Condition()
        self._ended = False
        self.started = time.perf_counter()
        self._process, self._descriptor = pty.fork()
        if self._process == 0:
            code = "from smallchat.cli import main; main()"
            whole = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}
            os.execve(PYTHON[0], [*PYTHON, "-c", code, *arguments], whole)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Quit the app; where it does not end by itself, it is killed, and its decoder ends with it."""
        self.type("\x11")  # Ctrl+Q
        deadline = time.monotonic() + 10
        while not self._ended and time.monotonic() < deadline:
            time.sleep(0.02)
        with contextlib.suppress(psutil.Error):
            psutil.Process(self._process).kill()
        os.waitpid(self._process, 0)
        self._reader.join(timeout=5)
        os.close(self._descriptor)

    def type(self, text: str) -> None:
        """Keys, as the terminal sends them."""
        with contextlib.suppress(OSError):  # it ended already
            os.write(self._descriptor, text.encode())

    def mark(self) -> int:
        """This moment, for `wait`: only what is written from now on counts."""
        with self._changed:
            return len(self._written)

    def wait(self, what: str | re.Pattern[bytes], since: int = 0, patience: float = PATIENCE) -> float:
        """When `what` was written after `since`, in whatever colours; in seconds of `time.perf_counter`.

        Raises `EngineError` where that does not come.
        """
        wanted = re.compile(re.escape(what.encode())) if isinstance(what, str) else what
        deadline = time.monotonic() + patience
        with self._changed:
            while True:
                if found := wanted.search(self._written, since):
                    return next(when for size, when in self._arrived if size >= found.end())
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise EngineError(f"The app did not show “{what}”", "Try it in a terminal: smallchat")
                self._changed.wait(left)

    def drawn(self, what: re.Pattern[bytes], since: int) -> list[tuple[bytes, float]]:
        """The first group of every match after `since`, and when it was written."""
        with self._changed:
            return [
                (found[1], next(when for size, when in self._arrived if size >= found.end()))
                for found in what.finditer(self._written, since)
            ]

    @property
    def cpu(self) -> float:
        """Seconds of processor time that the screen's process took so far; its decoder's are not in it."""
        times = psutil.Process(self._process).cpu_times()
        return times.user + times.system

    def _read(self) -> None:
        rest = b""
        while True:
            try:
                piece = os.read(self._descriptor, 1 << 16)
            except OSError:  # Linux says that the other end is closed with an error
                piece = b""
            whole = rest + piece
            cut = _UNFINISHED.search(whole)
            rest = cut[0] if cut else b""
            with self._changed:
                self._written += _CONTROL.sub(b"", whole[: len(whole) - len(rest)])
                self._arrived.append((len(self._written), time.perf_counter()))
                self._ended = not piece
                self._changed.notify_all()
            if not piece:
                return
