"""Another model without leaving the chat: chosen, fetched where it is not here, loaded in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smallchat.files import exists, meant
from smallchat.settings import UsageError
from smallchat.tui import models
from smallchat.tui.completing import Candidate, Names
from smallchat.tui.models import ListedModel
from smallchat.tui.screens.attaching import Attaching
from smallchat.tui.screens.fetch import FetchScreen
from smallchat.tui.screens.models import ModelsScreen
from smallchat.tui.text import one_line, size

LISTED_SECONDS = 60.0
"""How long a list of models is taken for fresh while someone types."""


class ModelChoice(Attaching):
    """A chat whose model can be changed."""

    def names(self) -> Names:
        """Also the names of models."""
        return {**super().names(), "model": lambda _: self._model_names()}

    def _model_names(self) -> Sequence[Candidate]:
        if self.dialogue.busy or self._settings.endpoint:
            return ()  # looking would take the cores from the answer
        return self.lookups.get("models", _find_models, LISTED_SECONDS)

    def action_models(self) -> None:
        """The list."""
        self.run_worker(self._run_command_named("model"), group="commands")

    async def command_model(self, name: str) -> None:
        """Take another model; without a name, choose one from the list."""
        if self._settings.endpoint:
            raise UsageError("This chat is with a server, whose model --model chooses", "Start it anew")
        if not name:
            chosen = await self.app.push_screen_wait(ModelsScreen(self._load.path))
            if chosen is not None:
                self._take_model(chosen)
            return
        path = meant(name)
        if exists(path) and path.is_file():
            self.load_model(path)
            return
        found = models.called(name, await models.listed())
        if not found:
            raise UsageError(
                f"There is no model {name!r}", "/model lists what is here and what can be fetched"
            )
        self._take_model(found[0])

    def _take_model(self, model: ListedModel) -> None:
        if model.path is not None:
            self.load_model(model.path, model.demo)
            return
        from smallchat.hub.known import parse

        reference = parse(model.short)
        if reference is None:
            raise UsageError(f"{model.short} cannot be fetched", "Try smallchat pull")

        def fetched(way: Path | str | None) -> None:
            if isinstance(way, Path):
                self.load_model(way)

        self.app.push_screen(FetchScreen(model.short, reference, inside=True), fetched)

    def load_model(self, path: Path, demo: bool = False) -> None:
        """Load it in place of the one that runs; the conversation stays."""
        if self.dialogue.busy:
            raise UsageError(
                "An answer is being made", self.key_names.told("{stop} stops it; then choose again")
            )
        if path == self._load.path and self.dialogue.ready is not None:
            self.tell("This model is loaded already")
            return
        self._load = replace(self._load, path=path, demo=demo)
        self.tell(f"Loading {one_line(path.name)}")
        self.start_engine()
        self.wake()

    def start_engine(self) -> None:
        """Load the model."""
        raise NotImplementedError


async def _find_models() -> Sequence[Candidate]:
    try:
        found = await models.listed()
    except models.ListingError:
        return ()
    return [
        Candidate(one.short, f"{one.name} · {size(one.bytes)} · {one.told}") for one in found if one.works
    ]
