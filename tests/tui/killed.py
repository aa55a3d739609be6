"""The app in a process that is going to be killed: it tells what its store has said was saved.

`python -m tests.tui.killed`, with SMALLCHAT_HOME set, types and is answered without end: one JSON line on
standard output for each fact.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os

from smallchat.chat.records import Turn
from smallchat.chat.store import Store
from tests.tui.running import running


def _tell(kind: str, conversation: int | None, number: int | None, text: str) -> None:
    os.write(1, json.dumps([kind, conversation, number, text]).encode() + b"\n")


class _Telling(Store):
    """The real store, which tells each fact when it is saved, and not before."""

    def add(self, conversation: int, turn: Turn) -> int:
        row = super().add(conversation, turn)
        _tell("message", conversation, row, turn.content)
        return row

    def update(self, turn: Turn) -> None:
        super().update(turn)
        _tell("message", None, turn.id, turn.content)

    def save_draft(self, conversation: int | None, text: str) -> None:
        super().save_draft(conversation, text)
        _tell("draft", conversation, None, text)


async def main() -> None:
    async with running(size=(80, 24)) as run:
        for number in itertools.count():
            await run.type(f"question {number} ")
            for word in range(6):
                await run.type(f"word{word} ")
                await run.pilot.pause(0.1)
            await run.pilot.press("enter")
            await run.until(lambda: run.chat.dialogue.answer)
            for word in range(12):
                run.engine.say(f"answer{word} ")
                await run.pilot.pause(0.06)
            run.engine.finish()
            await run.until(lambda: not run.chat.dialogue.busy)


if __name__ == "__main__":
    from smallchat.tui import app

    app.Store = _Telling  # type: ignore[misc]
    asyncio.run(main())
