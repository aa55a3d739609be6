"""All keys, and how to get a bigger model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from smallchat import paths
from smallchat.tui.commands import COMMANDS
from smallchat.tui.keys import KEYS, MESSAGE_KEYS, SIDEBAR_KEYS, Key, KeyNames
from smallchat.tui.widgets.dialog import Dialog

_PANEL = (
    ("Memory", "what smallchat uses, by purpose; against the budget if --mem gives one"),
    ("Speed", "tokens a second, a column for each of the last; ▾ marks slow ones, the line below tells what "
              "the last of these waited for"),
    ("Context", "tokens that the model has before it, of those that fit"),
    ("Neurons", "share of the neurons of used experts that were silent, and cost little"),
    ("Experts", "a mark for each expert, a row for each layer: · on disk, ↓ being read, ░▒▓ in memory "
                "(brighter: used more), █ used by this token; the mouse or {panel_size} and arrow keys "
                "tell more"),
    ("Disk", "what was read, and how often reading ahead guessed right"),
    ("What if", "hit rate and speed that other memory budgets would give this conversation"),
)  # fmt: skip


class HelpScreen(ModalScreen[None]):
    """Esc closes it, or the key that opened it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q", "dismiss", "Close")]

    def __init__(self, remapped: Mapping[str, str]) -> None:
        """`remapped`: keys that are not the usual ones, see `keys.remapped`."""
        super().__init__()
        self._remapped = remapped
        self._names = KeyNames(remapped)
        for key in next(key for key in KEYS if key.name == "help").keys_in(remapped).split(","):
            self._bindings.bind(key, "dismiss", "Close", show=False)

    def compose(self) -> ComposeResult:
        with Dialog("Help", "Esc closes") as dialog:
            dialog.can_focus = True
            yield from _table(self._rows(KEYS))
            yield Static(Content("Among the messages"), classes="heading")
            yield from _table(self._rows(MESSAGE_KEYS))
            yield Static(Content("In the sidebar"), classes="heading")
            yield from _table(self._rows(SIDEBAR_KEYS))
            yield Static(Content("Commands"), classes="heading")
            yield from _table([(one.usage, self._names.told(one.meaning)) for one in COMMANDS], "wide")
            yield Static(Content("A bigger model"), classes="heading")
            yield Static(_models())
            yield Static(Content("The panel"), classes="heading")
            yield from _table([(name, self._names.told(meaning)) for name, meaning in _PANEL])

    def _rows(self, table: Sequence[Key]) -> list[tuple[str, str]]:
        rows = [(key.label_in(self._remapped), key.meaning) for key in table]
        return [row for row in rows if row[0]]


def _table(rows: Sequence[tuple[str, str]], width: str = "") -> ComposeResult:
    with Container(classes=f"table {width}"):
        for name, meaning in rows:
            yield Static(Content(name), classes="key")
            yield Static(Content(meaning))


def _models() -> Content:
    return Content.assemble(
        "The model that comes with smallchat is a demonstration. Real ones are GGUF files of SmallThinker, "
        "4b (2.5 GB) and 21b (12.2 GB), fetched once from huggingface.co.\n",
        ("  smallchat --model 4b\n", "bold"),
        ("  smallchat --model PATH\n", "bold"),
        ("  smallchat --model NAME", "bold"),
        f"   for NAME.gguf in {paths.models()}\n",
        ("  smallchat --mem 2G", "bold"),
        "       stays below that: experts are read from disk as they are needed",
    )
