"""Markdown as models write it: nothing hidden, nothing obeyed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from textual.widgets import Markdown
from textual.widgets.markdown import MarkdownBlock

from smallchat.tui.text import one_line, plain
from smallchat.tui.widgets.ground import Heap, Placed
from smallchat.tui.widgets.transcript.growing import (
    AnswerBulletList,
    AnswerFence,
    AnswerList,
    AnswerOrderedList,
    AnswerParagraph,
    growing,
)
from smallchat.tui.widgets.transcript.table import AnswerTable

AGAIN = 2
"""Items of a list that are read again when more comes."""


def prepare() -> None:
    """Do once what the first block of code would wait for: Python's lexer is made when it is first used."""
    AnswerFence.highlight("", "python")
    _parser().parse("")


class AnswerMarkdown(Markdown, Heap):
    """A Markdown widget for hostile text. A link shows where it leads and is never opened."""

    BLOCKS: dict[str, type[MarkdownBlock]] = {  # noqa: RUF012
        **{name: type(kind.__name__, (kind, Placed), {}) for name, kind in Markdown.BLOCKS.items()},
        "paragraph_open": AnswerParagraph,
        "bullet_list_open": AnswerBulletList,
        "ordered_list_open": AnswerOrderedList,
        "fence": AnswerFence,
        "code_block": AnswerFence,
        "table_open": AnswerTable,
    }

    def __init__(self, text: str = "") -> None:
        super().__init__(plain(text), parser_factory=_parser, open_links=False)
        self._growing: AnswerParagraph | AnswerFence | None = None
        self._begun = bool(text)
        """It began with a text, and nothing was added yet."""
        self._tokens: list[Token] = []
        """What was read last."""

    async def write(self, fragment: str) -> None:
        """Add what was said since; only the last block is drawn anew."""
        if self._begun:
            # Textual would go on in the last line, within a block of several: what is before it would vanish.
            self._begun = False
            tokens = reversed(_parser().parse(self.source))
            self._last_parsed_line = next(
                (token.map[0] for token in tokens if token.map and not token.level), 0
            )
        await self.append(plain(fragment))
        self._step_on()
        last = growing(self)
        if last is not self._growing:
            self.settle()
            self._growing = last

    def _parse_markdown(self, tokens: Iterable[Token]) -> Iterable[MarkdownBlock]:
        self._tokens = [*tokens]
        return super()._parse_markdown(self._tokens)

    def _step_on(self) -> None:
        """Of a list, have only the last two items be read again: Textual would make all of it anew for each
        word. What the last one is may depend on the one before."""
        opened = [at for at, token in enumerate(self._tokens) if token.map and not token.level]
        last = self.children[-1] if self.children else None
        if not opened or not isinstance(last, AnswerList):
            return
        block, *rest = self._tokens[opened[-1] :]
        items = [token for token in rest if token.type == "list_item_open" and token.level == 1]
        last.since = len(last.children) - min(len(items), AGAIN)
        if len(items) > AGAIN and (start := items[-AGAIN].map) and block.map:
            self._last_parsed_line += start[0] - block.map[0]

    def settle(self) -> None:
        """Nothing more is said."""
        if self._growing is not None:
            self._growing.settle()
            self._growing = None

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        """Tell the address and copy it: following it is the reader's own decision."""
        event.stop()
        event.prevent_default()
        self.app.copy_to_clipboard(event.href)
        self.app.notify(one_line(event.href), title="Copied, not opened", markup=False)


@cache
def _parser() -> MarkdownIt:
    # HTML stays text: a model's <think> or <div> would otherwise vanish. No linkify: terminals find bare
    # addresses themselves, and without it one parser can serve every thread.
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.core.ruler.push("harmless", _make_harmless)
    return parser


def _make_harmless(state: StateCore) -> None:
    """Character references (`&#x202e;`) are decoded by the parser, after our own cleaning: clean again."""
    for token in state.tokens:
        token.content = plain(token.content)
        for child in token.children or ():
            _clean(child)


def _clean(token: Token) -> None:
    token.content = plain(token.content)
    for name in ("href", "src", "alt", "title"):
        if name in token.attrs:
            token.attrs[name] = one_line(str(token.attrs[name]))
    if token.type == "softbreak":  # people and small models end a line where they mean it to end
        token.type = "hardbreak"
    for child in token.children or ():
        _clean(child)
