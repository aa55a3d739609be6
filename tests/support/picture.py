"""Makes the README's picture of the real screen: `python -m tests.support.picture assets/screen.svg`.

The real app on the real built-in model in a terminal of 120 × 36; conversations go to a folder that is thrown
away.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from smallchat import paths
from smallchat.commands.resolve import load_options
from smallchat.engine.client import WorkerClient
from smallchat.settings import Settings
from smallchat.tui.app import SmallchatApp
from smallchat.tui.screens.chat import ChatScreen

QUESTIONS = ("Who are you?", "How do I use a bigger model?", "What is an expert?")
SECONDS = 120


async def picture() -> str:
    """The screen after a short talk, as SVG without fonts from the web."""
    settings = replace(Settings(), seed=1, temperature=0.0)
    app = SmallchatApp(settings, load_options(settings), WorkerClient(), paths.conversations())
    async with app.run_test(size=(120, 36)) as pilot, asyncio.timeout(SECONDS):
        while not isinstance(app.screen, ChatScreen) or app.screen.dialogue.ready is None:
            await pilot.pause(0.05)
        screen = app.screen
        for number, question in enumerate(QUESTIONS, 1):
            screen.prompt.text = question
            await pilot.press("enter")
            while len(screen.dialogue.session.turns) < 2 * number or screen.dialogue.busy:
                await pilot.pause(0.05)
        while screen.clock is None or screen.clock.awake:
            await pilot.pause(0.05)
        svg = app.export_screenshot(title="smallchat")
    return re.sub(r"@font-face\s*\{[^}]*\}", "", svg)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SMALLCHAT_HOME"] = folder
        made = asyncio.run(picture())
    Path(sys.argv[1]).write_text(made, encoding="utf-8")
