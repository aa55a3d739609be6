"""The live panel: what the engine told last, and nothing else."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from smallchat.tui.dialogue import Dialogue
from smallchat.tui.widgets.panel import memory
from smallchat.tui.widgets.panel.context import ContextFigure
from smallchat.tui.widgets.panel.experts import ExpertsFigure
from smallchat.tui.widgets.panel.memory import MemoryFigure
from smallchat.tui.widgets.panel.speed import SpeedFigure

OWN_MEMORY_SECONDS = 2.0
"""Between two looks at our own memory: each costs milliseconds."""


class Panel(VerticalScroll, can_focus=False):
    """Memory, speed, context and the map of the experts."""

    def __init__(self) -> None:
        super().__init__(id="panel")
        self._memory = MemoryFigure()
        self._speed = SpeedFigure()
        self._filled = ContextFigure()
        self._experts = ExpertsFigure()
        self._own = 0
        self._own_at = -OWN_MEMORY_SECONDS

    def compose(self) -> ComposeResult:
        yield self._memory
        yield self._speed
        yield self._filled
        yield self._experts

    @property
    def shown(self) -> bool:
        """The styles let it be seen."""
        return self.styles.display != "none"

    def show(self, dialogue: Dialogue) -> None:
        """Draw what changed since the last time. Nothing is done while the panel is hidden."""
        if not self.shown:
            return
        telemetry = dialogue.telemetry
        if telemetry is None:
            self._memory.show(None, 0)
            self._filled.show(None, 0)
            self._speed.show(0.0, 0.0, dialogue.progress, ())
        else:
            if (now := time.monotonic()) - self._own_at >= OWN_MEMORY_SECONDS:
                self._own, self._own_at = memory.own_memory(), now
            self._memory.show(telemetry.memory, self._own)
            self._filled.show(telemetry.context_used, telemetry.context)
            self._speed.show(
                telemetry.decode_speed, telemetry.prompt_speed, dialogue.progress, dialogue.speeds
            )
        self._experts.show(telemetry, self.region.bottom - self._experts.region.y)
