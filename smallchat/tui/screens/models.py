"""The list of models: what is installed, and what could be fetched."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from smallchat.errors import SmallchatError
from smallchat.tui.faults import Guarded
from smallchat.tui.models import ListedModel, line, listed
from smallchat.tui.text import plain
from smallchat.tui.widgets.dialog import Choices, Dialog

NAME_CELLS, SIZE_CELLS = 52, 7


class ModelsScreen(Guarded, ModalScreen[ListedModel | None]):
    """Closes with the model that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,f5,q", "dismiss(None)", "Close"),
    ]

    def __init__(self, current: Path) -> None:
        """`current`: the file that is loaded, which is marked."""
        super().__init__()
        self._current = current
        self._models: list[ListedModel] = []
        self._list = Choices(markup=False)
        self._told = Static("Looking, and measuring this machine …", classes="quiet", markup=False)

    def compose(self) -> ComposeResult:
        with Dialog("Models", "Enter takes it · Esc closes", classes="models"):
            yield self._list
            yield self._told

    def on_mount(self) -> None:
        """Look behind the first frame."""
        self._list.focus()
        self.run_worker(self._fill(), group="models")

    async def _fill(self) -> None:
        try:
            self._models = await listed()
        except SmallchatError as error:
            self._told.update(Content(plain(str(error))))
            return
        self._list.add_options(Option(self._line(one)) for one in self._models)
        here = [index for index, one in enumerate(self._models) if one.path == self._current]
        self._list.highlighted = here[0] if here else 0
        self._told.update(Content("Speeds are expected; smallchat bench measures them"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Chosen."""
        chosen = self._models[event.option_index]
        if chosen.works:
            self.dismiss(chosen)
        else:
            self._told.update(Content(plain(f"{chosen.path}: {chosen.told}")))

    def _line(self, model: ListedModel) -> Content:
        name, bytes_told, rest = line(model)
        mark = "● " if model.path == self._current else "  "
        return Content.assemble(
            (mark, "$primary"),
            Content(name).truncate(NAME_CELLS, ellipsis=True, pad=True),
            bytes_told.rjust(SIZE_CELLS),
            (f"\n  {rest}", "$quiet"),
        )
