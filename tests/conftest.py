"""No test sees the user's own files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smallchat.tui import clipboard


@pytest.fixture(autouse=True)
def no_clipboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a test copies comes into the user's own clipboard."""
    monkeypatch.setattr(clipboard, "tools", list)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for conversations, settings, models, logs and other programs' caches."""
    for name in [name for name in os.environ if name.startswith(("SMALLCHAT_", "HF_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("SMALLCHAT_HOME", str(folder))
    monkeypatch.setenv("HF_HOME", str(folder / "huggingface"))
    monkeypatch.setenv("LLAMA_CACHE", str(folder / "llama.cpp"))
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    return folder
