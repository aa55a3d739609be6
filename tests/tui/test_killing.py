"""The whole app, killed while one types and is answered."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.chat.store import Store

ROOT = Path(__file__).parents[2]
FACTS = (3, 12, 25)
"""After about so many facts the app is killed."""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is meant")
def test_a_killed_app_has_lost_nothing_that_was_saved() -> None:
    """Three kills, each of an app that goes on in the file that the one before left behind."""
    told: list[list[object]] = []
    for wanted in FACTS:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.tui.killed"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(wanted)]
        time.sleep(random.random() / 4)  # at any moment behind a fact: between two savings, or within one
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        whole = [line for line in [*lines, *rest.split("\n")] if line.strip().endswith("]")]
        facts = [json.loads(line) for line in whole]
        assert len(facts) >= wanted
        told += facts

        store = Store(paths.conversations())
        rows = dict(store.connection.execute("SELECT id, content FROM messages"))
        assert store.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        for kind, _, number, text in told:
            assert kind == "draft" or rows[number].startswith(text)
        last = next((fact for fact in reversed(facts) if fact[0] == "draft"), None)
        if last is not None and last[3]:
            draft = store.draft(last[1])
            # Typed on, or sent, in the moment between saving and telling.
            sent = any(text.startswith(last[3].strip()) for text in rows.values())
            assert sent or draft.startswith(last[3])
        assert all(
            status != "streaming" for (status,) in store.connection.execute("SELECT status FROM messages")
        )
        store.close()
