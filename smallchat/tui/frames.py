"""One frame for all that changes at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from textual.app import App

TURNS = 3
"""Of the event loop, until widgets that were changed have told the screen so."""


@contextlib.asynccontextmanager
async def one_frame(app: App[object]) -> AsyncIterator[None]:
    """Draw nothing until the end, and then all that was changed within.

    A widget tells the screen what changed once it has come to the end of its messages. What the screen hears
    of behind the frame makes it lay everything out, and draw it, once more.
    """
    with app.batch_update():
        yield
        for _ in range(TURNS):
            await asyncio.sleep(0)
