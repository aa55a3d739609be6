"""Blocks of an answer that grow where they stand.

Textual lays out and draws the whole conversation whenever a block takes another line, and takes a list down
and puts it up again for every word that is added to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Self

from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Region
from textual.highlight import ANSIDarkHighlightTheme, ANSILightHighlightTheme, HighlightTheme
from textual.visual import VisualType
from textual.widget import Widget
from textual.widgets import Label
from textual.widgets._markdown import (  # no public names yet
    MarkdownBullet,
    MarkdownBulletList,
    MarkdownFence,
    MarkdownListItem,
    MarkdownOrderedList,
    MarkdownParagraph,
)
from textual.widgets.markdown import MarkdownBlock

from smallchat.tui.widgets.ground import Column, Placed, Row, lines
from smallchat.tui.widgets.transcript.colours import LONG, Coloured, colour
from smallchat.tui.widgets.transcript.wrapped import Wrapped

AHEAD = 200
"""Cells that a growing paragraph takes before it needs them, in whole lines: it grows a few at once."""


def ahead(width: int) -> int:
    """Lines of so many cells that a growing paragraph takes before it needs them."""
    return max(2, round(AHEAD / width))


class Lines(Placed):
    """Text of which only the lines that changed are drawn."""

    _since = 0
    """The first line that is to be drawn."""

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Self:
        """See `Widget.refresh`."""
        if self._since and not regions:
            width, height = self.content_size
            regions = (Region(0, self._since, width, max(0, height - self._since)),)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)


class AnswerParagraph(MarkdownParagraph, Lines):
    """A paragraph that takes `AHEAD` cells more than it needs while it grows, until `settle`."""

    _ahead = False

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """See `Static.update`."""
        width, height = self.content_size
        if layout and width and isinstance(content, Content):
            content = wrapped = Wrapped(content, self.content)
            needed = lines(self, content)
            self._since = wrapped.since
            if needed > height:
                self._ahead = True
                self.styles.min_height = needed + ahead(width)
            layout = needed != height and not self._ahead
        super().update(content, layout=layout)
        self._since = 0

    def settle(self) -> None:
        """Take no more lines than the text has."""
        if self._ahead:
            self._ahead = False
            self.styles.min_height = None


class Code(Label, Lines):
    """The text of a block of code, as wide as its longest line and not wrapped."""

    auto_links = False

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """See `Static.update`."""
        width, height = self.content_size
        if isinstance(content, Content):
            content = wrapped = Wrapped(content, self.content)
        if layout and width and isinstance(content, Wrapped):
            needed = lines(self, content)
            self._since = wrapped.since
            longer = needed > content.plain.count("\n") + 1  # than the longest line before
            layout = needed != height or longer
        super().update(content, layout=layout)
        self._since = 0


class AnswerFence(MarkdownFence, Placed):
    """A block of code. While it grows, colours may be wrong that depend on lines far before: see `settle`."""

    _latest: ClassVar[Coloured | None] = None
    """The code that was coloured last: Textual makes a new block for each word that is added to one."""

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        """See `MarkdownFence.highlight`."""
        theme = (ANSIDarkHighlightTheme if dark else ANSILightHighlightTheme) if ansi else HighlightTheme
        AnswerFence._latest = coloured = colour(code, language, theme, AnswerFence._latest)
        return coloured.content

    def compose(self) -> ComposeResult:
        yield Code(Wrapped(self._highlighted_code), id="code-content", expand=True)

    def notify_style_update(self) -> None:
        """See `Widget.notify_style_update`."""
        AnswerFence._latest = None
        for code in self.query(Code):
            if isinstance(code.content, Wrapped):
                code.content.forget()
        super().notify_style_update()

    def settle(self) -> None:
        """Look at all of the code at once."""
        if self.code.count("\n") >= LONG:
            AnswerFence._latest = None
            self._highlighted_code = self.highlight(
                self.code, self.lexer, ansi=self.app.native_ansi_color, dark=self.app.current_theme.dark
            )
            self.set_content(self._highlighted_code)


class Bullet(MarkdownBullet, Placed):
    """What stands before an item: a bullet, or its number."""

    def __init__(self, symbol: str) -> None:
        super().__init__()
        self.set_reactive(MarkdownBullet.symbol, symbol)


class AnswerList(Placed):
    """A list that grows at its end."""

    since = 0
    """The row of the first item in what comes next; those before it stay as they are."""

    def symbols(self, items: Sequence[MarkdownListItem], first: int, count: int) -> list[str]:
        """What stands before each of the items, which are the rows from `first` on, of `count` in all."""
        return [item.bullet for item in items]


class AnswerBulletList(MarkdownBulletList, AnswerList):
    """Items with bullets."""

    def compose(self) -> ComposeResult:
        items = _items(self)
        yield from _rows(items, self.symbols(items, 0, len(items)))

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        if not await _grow_list(self, block):
            await super()._update_from_block(block)


class AnswerOrderedList(MarkdownOrderedList, AnswerList):
    """Numbered items."""

    _start = 1

    def symbols(self, items: Sequence[MarkdownListItem], first: int, count: int) -> list[str]:
        """See `AnswerList.symbols`: numbers in order, padded to the widest one."""
        return [self._number(first + at, count) for at in range(len(items))]

    def compose(self) -> ComposeResult:
        items = _items(self)
        self._start = _first(items)
        yield from _rows(items, self.symbols(items, 0, len(items)))

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        before = len(self.children)
        if not await _grow_list(self, block):
            await super()._update_from_block(block)
            return
        count = len(self.children)
        if len(self._number(0, count)) != len(self._number(0, before)):
            for at, row in enumerate(self.children):
                bullet = row.children[0]
                assert isinstance(bullet, Bullet)
                bullet.symbol = self._number(at, count)
                bullet.refresh(layout=True)

    def _number(self, at: int, count: int) -> str:
        """Of the row `at` of so many."""
        return f"{self._start + at}. ".rjust(len(str(self._start + count - 1)) + 3)


_GROWING = (AnswerParagraph, AnswerBulletList, AnswerOrderedList, AnswerFence)


def _items(here: MarkdownBlock) -> list[MarkdownListItem]:
    """What is to be mounted of the list; it is taken out of it."""
    items = [block for block in here._blocks if isinstance(block, MarkdownListItem)]
    here._blocks.clear()
    return items


def _rows(items: Iterable[MarkdownListItem], symbols: Iterable[str]) -> Iterator[Widget]:
    """Each item with its symbol before it."""
    for item, symbol in zip(items, symbols, strict=True):
        yield Row(Bullet(symbol), Column(*item._blocks))


async def _grow_list(here: AnswerBulletList | AnswerOrderedList, block: MarkdownBlock) -> bool:
    """Have the list go on with the items of `block`, from the row `since` on.

    False, and nothing done, where it is no list of the same kind.
    """
    rows = here.children[here.since :]
    if type(block) is not type(here) or not rows or not block._blocks:
        return False
    items = _items(block)
    kept = min(len(rows), len(items))
    for row in rows[kept:]:  # what looked like an item went on in another way
        await row.remove()
    await _grow(rows[kept - 1].children[-1], items[kept - 1]._blocks)
    if new := items[kept:]:
        count = here.since + len(items)
        await here.mount_all(_rows(new, here.symbols(new, here.since + kept, count)))
    return True


def _first(items: Sequence[MarkdownBlock]) -> int:
    """The number of the first item."""
    told = str(getattr(items[0], "bullet", "")) if items else ""
    return int(told) if told.isdecimal() else 1


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


def growing(block: Widget) -> AnswerParagraph | AnswerFence | None:
    """The paragraph or code at the very end, within whatever lists; None: something else is there."""
    while block.children and not isinstance(block, AnswerFence):
        block = block.children[-1]
    return block if isinstance(block, (AnswerParagraph, AnswerFence)) else None
