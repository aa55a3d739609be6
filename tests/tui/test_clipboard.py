"""The clipboard's ways, with programs that stand in for the tools."""

from __future__ import annotations

import base64
import importlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallchat.tui import clipboard

SETTINGS = ("WAYLAND_DISPLAY", "DISPLAY", "TMUX", "STY", "SSH_CONNECTION", "SSH_TTY", "WSL_DISTRO_NAME")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of tools, the only one that is looked into; the real search for them."""
    importlib.reload(clipboard)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join((str(folder), *map(str, map(Path, ("/bin", "/usr/bin"))))))
    monkeypatch.setattr(clipboard.sys, "platform", "linux")
    return folder


def tool(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="the tools are shell scripts")
def test_the_first_tool_that_works_takes_the_text(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clipboard.with_tool("text") is None
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DISPLAY", ":0")
    tool(tools, "wl-copy", "exit 1")
    tool(tools, "xclip", f'cat > "{tools}/taken"')
    assert clipboard.with_tool("čšž 家\n") == "xclip"
    assert (tools / "taken").read_text(encoding="utf-8") == "čšž 家\n"


@pytest.mark.skipif(os.name != "posix", reason="the tools are shell scripts")
def test_a_tool_that_hangs_is_given_up(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setattr(clipboard, "SECONDS", 0.2)
    tool(tools, "wl-copy", "exec sleep 60")
    assert clipboard.with_tool("text") is None


def test_the_terminal_is_asked_in_its_own_words(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = base64.b64encode("家".encode()).decode()
    assert clipboard.for_terminal("家") == f"\x1b]52;c;{encoded}\x07"
    monkeypatch.setenv("STY", "1.pts")
    long = clipboard.for_terminal("x" * 3000)
    pieces = long.removeprefix("\x1bP").removesuffix("\x1b\\").split("\x1b\\\x1bP")
    assert max(map(len, pieces)) <= 768
    assert "".join(pieces) == f"\x1b]52;c;{base64.b64encode(b'x' * 3000).decode()}\x07"
    monkeypatch.setenv("TMUX", "/tmp-socket,1,0")
    assert clipboard.for_terminal("家") == f"\x1bPtmux;\x1b\x1b]52;c;{encoded}\x07\x1b\\"


def test_over_ssh_only_what_reaches_the_reader_counts(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tools, "pbcopy", "cat")
    monkeypatch.setattr(clipboard.sys, "platform", "darwin")
    assert clipboard.tools() == [["pbcopy"]]
    monkeypatch.setenv("SSH_CONNECTION", "1.2.3.4")
    assert clipboard.tools() == []


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
def test_tmux_takes_the_text(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "socket"
    tmux = [str(shutil.which("tmux")), "-S", str(socket)]
    subprocess.run([*tmux, "-f", os.devnull, "new-session", "-d", "sleep 60"], check=True)
    try:
        monkeypatch.setenv("TMUX", f"{socket},1,0")
        assert clipboard.with_tool("into tmux") == "tmux"
        shown = subprocess.run([*tmux, "show-buffer"], check=True, capture_output=True, text=True)
        assert shown.stdout == "into tmux"
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)
