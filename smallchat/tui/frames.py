"""One frame for all that changes at once, and no more of it drawn than that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from textual._compositor import Compositor  # no public name yet
from textual.app import App
from textual.geometry import Region
from textual.strip import Strip

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


class Frames(Compositor):
    """A compositor that has widgets draw only those of their lines where something changed.

    Textual has every widget of the screen draw all its lines, for a single letter too.
    """

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """See `Compositor._get_renders`: each widget's region, where of it is seen, and those lines."""
        if not crop:
            yield from super()._get_renders()
            return
        rows = Region(0, crop.y, self.size.width, crop.height)
        for widget, (region, clip) in self.visible_widgets.items():
            seen = clip.intersection(rows)
            part = region.intersection(seen)
            if part and part.overlaps(crop):
                yield region, seen, widget.render_lines(part.translate(-region.offset))
