"""A real terminal: tmux on a socket of its own, driven by keys, read from its screen."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
SECONDS = 30.0


class Terminal:
    """One window."""

    def __init__(self, socket: Path) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", os.devnull]

    def start(self, command: list[str], env: Mapping[str, str], size: tuple[int, int]) -> None:
        """Run a command in a new window; its exit code is shown when it ends."""
        given = [f"{name}={shlex.quote(value)}" for name, value in env.items()]
        line = f"env {' '.join(given)} {shlex.join(command)}; echo ended with $?; exec sleep 600"
        width, height = map(str, size)
        self._run("new-session", "-d", "-x", width, "-y", height, line)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: Enter, Escape, C-r, F5."""
        self._run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Letters as they are."""
        self._run("send-keys", "-l", text)

    @property
    def screen(self) -> str:
        """What stands there, line by line."""
        return self._run("capture-pane", "-p")

    @property
    def process(self) -> psutil.Process:
        """What runs there."""
        shell = psutil.Process(int(self._run("display-message", "-p", "#{pane_pid}")))
        (process,) = shell.children()
        return process

    @property
    def echoes(self) -> bool:
        """What is typed is shown."""
        import termios

        with Path(self._run("display-message", "-p", "#{pane_tty}").strip()).open() as tty:
            return bool(termios.tcgetattr(tty)[3] & termios.ECHO)

    @property
    def clipboard(self) -> str:
        """What was copied."""
        return self._run("show-buffer")

    def shows(self, *texts: str, seconds: float = SECONDS) -> None:
        """Wait until all of these stand on the screen."""
        self._wait(lambda: all(text in self.screen for text in texts), texts, seconds)

    def presses_until(self, text: str, *keys: str) -> None:
        """Press these keys, which do no harm again, until the screen shows `text`."""
        deadline = time.monotonic() + SECONDS
        while text not in self.screen:
            assert time.monotonic() < deadline, self.screen
            self.press(*keys)
            with contextlib.suppress(pytest.fail.Exception):
                self.shows(text, seconds=1)

    def shows_no_more(self, *texts: str, seconds: float = SECONDS) -> None:
        """Wait until none of these stands there."""
        self._wait(lambda: not any(text in self.screen for text in texts), texts, seconds)

    def ends_with(self, text: str, seconds: float = SECONDS) -> None:
        """Wait until this is the last that stands on the screen."""
        self._wait(lambda: self.screen.rstrip().endswith(text), (text,), seconds)

    def end(self) -> None:
        """Close it, whatever runs in it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("kill-server")

    def _wait(self, true: object, texts: tuple[str, ...], seconds: float) -> None:
        assert callable(true)
        until = time.monotonic() + seconds
        while not true():
            if time.monotonic() > until:
                pytest.fail(f"waited in vain for {texts}; the screen:\n{self.screen}")
            time.sleep(0.05)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True)
        return done.stdout


@contextlib.contextmanager
def terminal(
    folder: Path, command: list[str], env: Mapping[str, str], size: tuple[int, int] = (100, 30)
) -> Iterator[Terminal]:
    """A window in which `command` runs; `folder` holds its socket."""
    window = Terminal(folder / "tmux")
    window.start(command, env, size)
    try:
        yield window
    finally:
        window.end()
