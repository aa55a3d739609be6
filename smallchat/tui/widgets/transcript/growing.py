"""Blocks of an answer that grow where they stand.

Textual lays out and draws the whole conversation whenever a block takes another line, and takes a list down
and puts it up again for every word that is added to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.visual import VisualType
from textual.widget import Widget
from textual.widgets._markdown import (  # no public names yet
    MarkdownBulletList,
    MarkdownFence,
    MarkdownList,
    MarkdownOrderedList,
    MarkdownParagraph,
)
from textual.widgets.markdown import MarkdownBlock

from smallchat.tui.widgets.ground import Placed, lines

AHEAD = 200
"""Cells that a growing paragraph takes before it needs them, in whole lines: it grows a few at once."""


def ahead(width: int) -> int:
    """Lines of so many cells that a growing paragraph takes before it needs them."""
    return max(2, round(AHEAD / width))


class AnswerParagraph(MarkdownParagraph, Placed):
    """A paragraph that takes `AHEAD` cells more than it needs while it grows, until `settle`."""

    _ahead = False

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """See `Static.update`."""
        width, height = self.content_size
        if layout and width and isinstance(content, Content):
            needed = lines(self, content)
            if needed > height:
                self._ahead = True
                self.styles.min_height = needed + ahead(width)
            layout = needed != height and not self._ahead
        super().update(content, layout=layout)

    def settle(self) -> None:
        """Take no more lines than the text has."""
        if self._ahead:
            self._ahead = False
            self.styles.min_height = None


class AnswerBulletList(MarkdownBulletList, Placed):
    """Items with bullets."""

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        if not await _grow_list(self, block):
            await super()._update_from_block(block)


class AnswerOrderedList(MarkdownOrderedList, Placed):
    """Numbered items."""

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        # All numbers are padded to the widest one.
        padded = _digits(block._blocks, len(self.children)) == _digits(block._blocks, len(block._blocks))
        if not padded or not await _grow_list(self, block):
            await super()._update_from_block(block)


_GROWING = (AnswerParagraph, AnswerBulletList, AnswerOrderedList, MarkdownFence)


async def _grow_list(here: MarkdownList, block: MarkdownBlock) -> bool:
    """Have the last item grow, and add those that follow it; items before stay as they are.

    False, and nothing done, where that is not enough.
    """
    rows, items = len(here.children), list(block._blocks)
    if type(block) is not type(here) or not 0 < rows <= len(items):
        return False
    new_rows = list(block.compose())[rows:]
    await _grow(here.children[-1].children[-1], items[rows - 1]._blocks)
    if new_rows:
        await here.mount_all(new_rows)
    return True


def _digits(items: Sequence[MarkdownBlock], count: int) -> int:
    """Of the last one of `count` numbers, which begin with that of the first item."""
    first = str(getattr(items[0], "bullet", "")) if items else ""
    return len(str((int(first) if first.isdecimal() else 1) + count - 1))


async def _grow(body: Widget, blocks: Sequence[MarkdownBlock]) -> None:
    """Make the blocks of a list's item those given, which go on where they ended."""
    mounted = list(body.children)
    kept = len(mounted) - 1
    last = mounted[-1] if mounted else None
    if last is not None and kept < len(blocks):
        if isinstance(last, _GROWING) and type(last) is type(blocks[kept]):
            await last._update_from_block(blocks[kept])
            kept += 1
        else:
            await last.remove()
    if blocks[kept:]:
        await body.mount_all(blocks[max(0, kept) :])


def growing(block: Widget) -> AnswerParagraph | None:
    """The paragraph at the very end, within whatever lists; None: something else is there."""
    while block.children and not isinstance(block, MarkdownFence):
        block = block.children[-1]
    return block if isinstance(block, AnswerParagraph) else None
