"""The chat line by line, before anything is said; `tests/tui/test_terminal.py` talks in it."""

from __future__ import annotations

import pytest

from smallchat import paths
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.commands.inline import Inline
from smallchat.commands.resolve import load_options
from smallchat.engine.client import client_for
from smallchat.settings import Settings


def test_what_was_said_comes_back_whatever_is_in_it() -> None:
    readline = pytest.importorskip("readline")
    store = Store(paths.conversations())
    Session(store).ask("a\0b\nc")
    settings = Settings()
    readline.clear_history()
    Inline(settings, load_options(settings), client_for(settings), store)
    assert readline.get_history_item(1) == "a␀b c"
    readline.clear_history()
    store.close()
