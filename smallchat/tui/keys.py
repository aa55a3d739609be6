"""Every key of the chat, in one table: the bindings and the help screen are both made from it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Key:
    """A key, what it does, and (with `action`) the action of the chat screen that it is bound to."""

    label: str
    meaning: str
    keys: str = ""
    action: str = ""
    footer: str = ""
    """Its word in the footer; empty: not shown there."""
    yields: bool = False
    """A widget that has the focus may want this key for itself."""


KEYS = (
    Key("Enter", "send the message"),
    Key("Ctrl+J", "new line (Shift+Enter too, where the terminal tells them apart)"),
    Key("Esc", "stop the answer; what was written stays", "escape", "stop", "Stop"),
    Key("Ctrl+R", "answer again; the first answer is kept", "ctrl+r", "again", "Again"),
    Key("Alt+← →", "the other answers, and wordings of a question", "alt+left", "branch(-1)"),
    Key("", "the next answer or wording", "alt+right", "branch(1)"),
    Key("Ctrl+Y", "copy the last answer", "ctrl+y", "copy_answer", "Copy"),
    Key("Ctrl+G", "write the message in your editor ($VISUAL or $EDITOR)", "ctrl+g", "edit"),
    Key("Ctrl+N", "new conversation", "ctrl+n", "new", "New"),
    Key("Ctrl+O", "saved conversations: open, delete", "ctrl+o", "conversations", "Open"),
    Key("PgUp PgDn", "scroll; Ctrl+End follows the answer again"),
    Key(
        "Ctrl+↑",
        "to the messages and back (Esc too)",
        "ctrl+up,escape",
        "messages",
        yields=True,
    ),
    Key("F2", "search your notes as you type", "f2", "search_notes"),
    Key("F4", "sources of the last answer from your notes", "f4", "sources"),
    Key("F1", "this help", "f1", "help", "Help"),
    Key("F3", "show or hide the panel", "f3", "panel", "Panel"),
    Key("F6", "the panel beside the talk, narrow, on the whole screen", "f6", "panel_size"),
    Key("Ctrl+P", "every command, and the colours"),
    Key("Ctrl+Q", "quit; everything is saved", "ctrl+q", "app.quit", "Quit"),
)

MESSAGE_KEYS = (
    Key("↑ ↓, K J", "the message before, the next one; a page of it where it is long", "up,k", "turn(-1)"),
    Key("", "next message", "down,j", "turn(1)"),
    Key("G, Shift+G", "first message, last message", "g,home", "turn_at(0)"),
    Key("", "last message", "G,end", "turn_at(-1)"),
    Key("← →, H L", "the other answers, and wordings of a question", "left,h", "branch(-1)"),
    Key("", "the next answer or wording", "right,l", "branch(1)"),
    Key("E", "say it in other words: a branch, what was said stays", "e", "edit_turn", "Edit"),
    Key("R", "another answer beside it", "r", "again_turn", "Again"),
    Key("Shift+R", "the same answer again, with its seed and settings", "R", "replay_turn"),
    Key("C", "go on with an answer that was stopped", "c", "go_on", "Continue"),
    Key("Esc, I", "back to writing", "i", "messages", "Write"),
)
"""While the messages have the focus: what is done to the one that is marked."""


def bindings() -> list[BindingType]:
    """What the chat screen binds. Priority: the text area must not take Ctrl+Y and its like."""
    return [_binding(key, key.action, priority=not key.yields) for key in KEYS if key.action]


def message_bindings() -> list[BindingType]:
    """What the transcript binds: actions of the chat screen on its focused turn."""
    return [_binding(key, f"screen.{key.action}") for key in MESSAGE_KEYS]


def _binding(key: Key, action: str, priority: bool = False) -> Binding:
    return Binding(
        key.keys,
        action,
        key.footer or key.meaning,
        show=bool(key.footer),
        priority=priority,
        id=action,
    )
