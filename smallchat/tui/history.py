"""What was written before, for the prompt's Up and Down. Knows no widget."""

from __future__ import annotations

from collections.abc import Callable


class History:
    """Texts from the newest to the oldest, and a place among them; before the newest lies one's own draft."""

    def __init__(self, earlier: Callable[[], list[str]]) -> None:
        """`earlier` reads what was written in former runs, newest first; it is called when first wanted."""
        self._read_earlier = earlier
        self._earlier: list[str] | None = None
        self._now: list[str] = []
        self._at = 0
        self._draft = ""

    def add(self, text: str) -> None:
        """This was sent."""
        if self._earlier is None:
            self._earlier = self._read_earlier()  # before this one is among them
        self._now = [text, *(one for one in self._now if one != text)]
        self._at = 0

    def older(self, current: str) -> str | None:
        """The text before the one in the prompt (`current`); None: there is none."""
        return self._go(current, 1)

    def newer(self, current: str) -> str | None:
        """The text behind it, at last the draft; None: there is none."""
        return self._go(current, -1)

    def _go(self, current: str, step: int) -> str | None:
        every = self._every()
        if self._at == 0 or current != every[self._at - 1]:
            self._draft, self._at = current, 0  # also an earlier text that was changed: nothing is lost
        at = self._at + step
        if not 0 <= at <= len(every):
            return None
        self._at = at
        return every[at - 1] if at else self._draft

    def _every(self) -> list[str]:
        if self._earlier is None:
            self._earlier = self._read_earlier()
        return [*self._now, *(text for text in self._earlier if text not in self._now)]
