"""How full the context is."""

from __future__ import annotations

from textual.content import Content

from smallchat.tui.text import count
from smallchat.tui.widgets.panel.figure import BLANK, Figure, bar


class ContextFigure(Figure):
    """Tokens of the conversation in the KV cache, of those that fit."""

    def __init__(self) -> None:
        super().__init__(id="context")
        self._used: int | None = None
        self._fits = 0

    def show(self, used: int | None, context: int) -> None:
        """Draw if something changed."""
        if (used, context) != (self._used, self._fits):
            self._used, self._fits = used, context
            self.refresh()

    def lines(self, width: int) -> list[Content]:
        if self._used is None:
            return [self.heading("Context", BLANK), bar(0, width)]
        if not self._fits:  # a server that does not tell
            return [self.heading("Context", count(self._used, "token")), bar(0, width)]
        share = self._used / self._fits
        return [self.heading("Context", f"{self._used:,} of {self._fits:,}"), bar(share, width)]
