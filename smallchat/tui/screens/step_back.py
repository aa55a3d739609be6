"""Step back to any token of an answer, and see what else the model considered there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from smallchat.engine.events import Alternative
from smallchat.errors import SmallchatError
from smallchat.tui.stepping import Stepping
from smallchat.tui.text import plain
from smallchat.tui.widgets.dialog import Choices, Dialog

KEYS = "← → token · ↑ ↓ Enter goes on with another · Esc closes"
BRIEF = "← → ↑ ↓ · Enter takes · Esc closes"
BEFORE, AFTER = 240, 100
"""Cells of the answer that are shown around a token."""
NAME, BAR = 26, 20
"""Cells of a token in the list at the most, and of the longest bar."""
SHARE, GUTTER = 10, 3
"""Cells of a line beside the token and the bar, and of the list beside the line."""
STRIDE = 10
READING_SECONDS = 0.25
CONSIDERED = "what else was considered:"
_VISIBLE = str.maketrans({"\n": "↵", "\t": "⇥"})


class StepBackScreen(ModalScreen[list[int] | None]):
    """Closes with the tokens that another answer is to begin with, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(keys, action, priority=True)  # before the list's own
        for keys, action in (
            ("left,h", "step(-1)"),
            ("right,l", "step(1)"),
            ("ctrl+left,b", f"step({-STRIDE})"),
            ("ctrl+right,w", f"step({STRIDE})"),
            ("home,0", "step(-1_000_000)"),
            ("end,dollar_sign", "step(1_000_000)"),
            ("escape,q", "dismiss(None)"),
        )
    ]

    def __init__(self, stepping: Stepping) -> None:
        """`stepping` has begun."""
        super().__init__()
        self._stepping = stepping
        self._place = max(0, len(stepping.ids) - 1)
        self._looked: int | None = None
        """The place whose alternatives are shown."""
        self._shown: tuple[Alternative, ...] = ()
        self._following = False
        self._dialog = Dialog("Step back", KEYS, BRIEF, classes="steps")
        self._text = Static("", classes="said")
        self._read = Content("")
        """The text up to the token's end."""
        self._where = Static("", classes="quiet")
        self._list = Choices(markup=False)

    def compose(self) -> ComposeResult:
        with self._dialog:
            yield self._text
            with Vertical(classes="choice"):
                yield self._where
                yield self._list

    def on_mount(self) -> None:
        """Begin at the last token."""
        self._list.focus()
        self.action_step(0)
        self.set_interval(READING_SECONDS, self._draw_reading)

    def on_resize(self) -> None:
        """Where the lines are others, the token is elsewhere."""
        self.call_after_refresh(self._show_token)

    def on_unmount(self) -> None:
        """What is still being looked at is not wanted any more."""
        self._stepping.end()

    def action_step(self, tokens: int) -> None:
        """To another token; behind the last one is what would follow."""
        self._place = min(max(0, self._place + tokens), len(self._stepping.ids))
        self._draw_place()
        if not self._following:
            self._following = True
            self.run_worker(self._follow())

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go on with it, where it is another token than the answer's own."""
        event.stop()
        if self._looked != self._place:
            return
        token = self._shown[event.option_index].token_id
        if token != self._own:
            self.dismiss(self._stepping.taken(self._place, token))

    @property
    def _own(self) -> int | None:
        """The token that the answer has here."""
        ids = self._stepping.ids
        return ids[self._place] if self._place < len(ids) else None

    async def _follow(self) -> None:
        """Look where the reader stands: one place at a time, however fast the keys come."""
        try:
            while self._looked != self._place:
                place = self._place
                shown = await self._stepping.look(place)
                if place == self._place:
                    self._looked, self._shown = place, shown
                    self._draw_where(CONSIDERED)
                    self._draw_alternatives()
        except SmallchatError as error:
            self.notify(plain(str(error)), severity="error", markup=False)
            self.dismiss(None)
        finally:
            self._following = False

    def _draw_place(self) -> None:
        pieces, place = self._stepping.pieces, self._place
        before, after = readable(pieces[:place]), readable(pieces[place + 1 :])
        own = readable(pieces[place : place + 1])
        # A line's end would mark nothing.
        marked = own.replace("\n", "↵\n") if own else "▏"
        self._read = Content.assemble(_end(before, BEFORE), (marked, "reverse"))
        self._text.update(self._read + Content.styled(_beginning(after, AFTER), "$quiet"))
        self.call_after_refresh(self._show_token)
        self._draw_where(CONSIDERED)

    def _show_token(self) -> None:
        """Scroll to it, where not all of the text fits."""
        line = self._read.get_height({}, self._text.size.width) - 1
        token = Region(0, line, 1, 1)
        taken = self._text.dock_gutter
        self._dialog.scroll_to_region(token, spacing=taken, center=True, animate=False)

    def _draw_where(self, doing: str) -> None:
        place, count = self._place, len(self._stepping.ids)
        where = f"token {place + 1:,} of {count:,}" if place < count else f"behind the last of {count:,}"
        self._where.update(Content(f"{where} · {doing}"))

    def _draw_reading(self) -> None:
        """How long it may still take, where the conversation must be read first."""
        progress = self._stepping.reading
        if self._following and progress is not None and progress.total - progress.done > 1:
            self._draw_where(f"reading the conversation: {progress.done:,} of {progress.total:,} tokens")

    def _draw_alternatives(self) -> None:
        self._list.clear_options()
        self._list.add_options(Option(self._line(one)) for one in self._shown)
        own = next((i for i, one in enumerate(self._shown) if one.token_id == self._own), None)
        others = [i for i in range(len(self._shown)) if i != own]
        self._list.highlighted = others[0] if others else own

    def _line(self, one: Alternative) -> Content:
        mark = "•" if one.token_id == self._own else " "
        name = f"“{readable([one.piece]).translate(_VISIBLE)}”"
        room = max(SHARE, self._list.size.width - GUTTER)
        share = f"{one.probability:.1%}" if one.probability >= 0.0005 else "<0.1%"
        bar = "█" * round(one.probability * BAR)
        name = set_cell_size(name, min(NAME, room - SHARE))
        return Content.assemble(f"{mark} {name} {share:>6} ", (bar, "$primary 60%")).truncate(room)


def readable(pieces: Sequence[bytes]) -> str:
    """The text of some tokens; what is no whole character shows as its bytes, as \\xe4."""
    return plain(b"".join(pieces).decode("utf-8", "backslashreplace"))


def _end(text: str, cells: int) -> str:
    """As much of the end as fits."""
    cut = text[-cells:]
    while cell_len(cut) > cells:
        cut = cut[(cell_len(cut) - cells + 1) // 2 :]
    return cut if cut == text else f"…{cut}"


def _beginning(text: str, cells: int) -> str:
    """As much of the beginning as fits."""
    cut = text[:cells]
    while cell_len(cut) > cells:
        cut = cut[: -((cell_len(cut) - cells + 1) // 2)]
    return cut if cut == text else f"{cut}…"
