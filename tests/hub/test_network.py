"""Only `pull`, `--endpoint` and a model to be fetched touch the network: watched in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hub import serving
from tests.support.models import Recipe, model
from tests.test_house import imported

WATCH = """
import os, sys

def watch(event, arguments):
    if event == "socket.getaddrinfo" or (
        event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple)
    ):
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{event} {arguments}\\n")

sys.addaudithook(watch)
"""


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file into which every process of the test writes whom it speaks to."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(root)]))
    monkeypatch.setenv("WATCHED", str(tmp_path / "seen"))
    return tmp_path / "seen"


def run(*arguments: str) -> int:
    command = [sys.executable, "-m", "smallchat", *arguments]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60).returncode


def test_no_command_but_pull_speaks_to_anyone(seen: Path) -> None:
    path = str(model(Recipe()).path)
    runs = [
        ["ask", "--model", path, "--max-tokens", "3", "the"],
        ["ask", "--model", "4b", "hello"],
        ["info", path],
        ["models", "--json"],
        ["models", "verify", path],
        ["doctor", "--json"],
        ["paths"],
        ["bench", "--model", path, "--prompt-tokens", "4", "--gen-tokens", "2", "--threads", "2"],
        ["notes", "search", "tree", "--notes", str(seen.parent)],
    ]
    codes = [run(*arguments) for arguments in runs]
    assert codes == [0, 3, 0, 0, 0, 0, 0, 0, 0]
    assert not seen.exists(), seen.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX systems")
def test_the_app_and_its_decoder_speak_to_no_one(seen: Path) -> None:
    """In a real terminal: opened, asked, answered, closed."""
    import fcntl
    import pty
    import select
    import struct
    import termios
    import time

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color"}
    command = [sys.executable, "-m", "smallchat"]
    app = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown, deadline = b"", time.monotonic() + 120

    def until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            assert time.monotonic() < deadline, shown[-2000:]
            if select.select([ours], [], [], 0.2)[0]:
                shown += os.read(ours, 1 << 16)
        shown = b""

    try:
        until(b"Enter sends")
        os.write(ours, b"What is smallchat?\r")
        until(b"seed")  # the line below an answer that is complete
        os.write(ours, b"\x11")
        while app.poll() is None:
            assert time.monotonic() < deadline
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    os.read(ours, 1 << 16)
                except OSError:  # Linux: the terminal is closed
                    break
        assert app.wait(20) == 0
    finally:
        app.kill()
        app.wait()
        os.close(ours)
    assert not seen.exists(), seen.read_text()


def test_the_watch_sees_what_pull_does(seen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert run("pull", "4b") == 9
    assert "127.0.0.1" in seen.read_text()


def test_looking_for_models_does_not_load_the_hubs_client() -> None:
    modules = imported("import smallchat.commands.resolve, smallchat.commands.models, smallchat.tui.app")
    assert not {"huggingface_hub", "httpx2", "openai"} & modules


def test_the_app_opens_without_looking_for_models() -> None:
    modules = imported("import smallchat.commands.chat, smallchat.tui.app")
    assert not {"numpy", "smallchat.hub.known", "smallchat.hub.installed"} & modules
