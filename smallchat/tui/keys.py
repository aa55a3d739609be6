"""Every key of the chat, in one table: the bindings and the help screen are both made from it.

Each can be another one: a line `name = "key"` in the table `[keys]` of the configuration file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from smallchat.settings import UsageError
from smallchat.tui import keynames


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
    named: str = ""
    """Its name in the configuration file; empty: that of its action."""

    @property
    def name(self) -> str:
        """What the configuration file calls it; empty: it cannot be changed."""
        return self.named or self.action

    def keys_in(self, remapped: Mapping[str, str]) -> str:
        """Its keys, separated by commas."""
        return remapped.get(self.name, self.keys)

    def label_in(self, remapped: Mapping[str, str]) -> str:
        """Its keys as they are shown."""
        if self.name not in remapped:
            return self.label
        return ", ".join(keynames.shown(key) for key in remapped[self.name].split(","))


KEYS = (
    Key("Enter", "send the message", "enter", named="send"),
    Key(
        "Ctrl+J, Shift+Enter",
        "new line (many terminals take Shift+Enter for Enter)",
        "ctrl+j,shift+enter",
        named="new_line",
    ),
    Key("Tab", "complete a command or a file's name (@); ↑ ↓ choose, Esc closes the list"),
    Key("↑ ↓", "at the edge of the prompt: what you wrote before"),
    Key("Esc", "stop the answer; what was written stays", "escape", "stop", "Stop"),
    Key("Ctrl+R", "answer again; the first answer is kept", "ctrl+r", "again", "Again"),
    Key(
        "Alt+← →",
        "the other answers, and wordings of a question",
        "alt+left",
        "branch(-1)",
        named="branch_before",
    ),
    Key("", "the next answer or wording", "alt+right", "branch(1)", named="branch_after"),
    Key("Ctrl+Y", "copy the last answer", "ctrl+y", "copy_answer", "Copy", named="copy"),
    Key("Ctrl+G", "write the message in your editor ($VISUAL or $EDITOR)", "ctrl+g", "edit"),
    Key("Ctrl+N", "new conversation", "ctrl+n", "new", "New"),
    Key(
        "Ctrl+O",
        "conversations: show them and go there; hide them",
        "ctrl+o",
        "conversations",
        "Open",
    ),
    Key("Ctrl+F", "search everything ever said", "ctrl+f", "search_said", "Search"),
    Key("PgUp PgDn", "scroll"),
    Key("Ctrl+End", "to the end, and on with the answer", "ctrl+end", "follow", yields=True),
    Key(
        "Ctrl+↑, Esc",
        "to the messages and back",
        "ctrl+up,escape",
        "messages",
        yields=True,
    ),
    Key("F2", "search your notes as you type", "f2", "search_notes"),
    Key("F4", "sources of the last answer from your notes", "f4", "sources"),
    Key("F5", "another model: what is here, what can be fetched", "f5", "models", "Model"),
    Key("F7", "what is sent along with the message: read it, take it out", "f7", "attachments"),
    Key("F1", "this help", "f1", "help", "Help"),
    Key("F3", "show or hide the panel", "f3", "panel", "Panel"),
    Key("F6", "the panel beside the talk, narrow, on the whole screen", "f6", "panel_size"),
    Key("Ctrl+P", "every command, and the colours", "ctrl+p", "app.command_palette", named="palette"),
    Key("Ctrl+Q", "quit; everything is saved", "ctrl+q", "app.quit", "Quit", named="quit"),
)

MESSAGE_KEYS = (
    Key(
        "↑ ↓, K J",
        "the message before, the next one; a page of it where it is long",
        "up,k",
        "turn(-1)",
        named="message_up",
    ),
    Key("", "next message", "down,j", "turn(1)", named="message_down"),
    Key("G, Shift+G", "first message, last message", "g,home", "turn_at(0)", named="message_first"),
    Key("", "last message", "G,end", "turn_at(-1)", named="message_last"),
    Key("Y", "copy the message; what is selected, if something is", "y", "copy_message", "Copy"),
    Key("C", "copy a code block of it; which one, where there are several", "c", "copy_code", "Code"),
    Key("V", "read it alone, select in it by keyboard", "v", "view_message", "Select"),
    Key(
        "← →, H L",
        "the other answers, and wordings of a question",
        "left,h",
        "branch(-1)",
        named="message_branch_before",
    ),
    Key("", "the next answer or wording", "right,l", "branch(1)", named="message_branch_after"),
    Key(
        "E",
        "say it in other words, an answer too: a branch, what was said stays",
        "e",
        "edit_turn",
        "Edit",
    ),
    Key("R", "another answer beside it", "r", "again_turn", "Again"),
    Key("Shift+R", "the same answer again, with its seed and settings", "R", "replay_turn"),
    Key("O", "go on with an answer that was stopped", "o", "go_on", "Go on"),
    Key("T", "step back to any token of an answer, take another", "t", "step_back", "Tokens"),
    Key("Esc, I", "back to writing", "i", "messages", "Write", named="write"),
)
"""While the messages have the focus: what is done to the one that is marked."""

SIDEBAR_KEYS = (
    Key("Enter", "open the conversation, or go to the message that was found"),
    Key("R", "give it another name", "r", "rename_conversation", "Rename"),
    Key("P", "above the others, or no longer", "p", "pin_conversation", "Pin"),
    Key("D, Del", "delete it", "d,delete", "delete_conversation", "Delete"),
    Key("U, Ctrl+Z", "bring back what was deleted last", "u,ctrl+z", "undo_delete", "Undo"),
    Key("/", "search everything ever said", "slash", "search_said", named="sidebar_search"),
    Key("Esc", "back to writing", "escape", "leave_sidebar", "Write"),
)
"""While the sidebar has the focus: what is done to the marked conversation."""


_FOOTER = (
    "stop",
    *(f"screen.{key.action}" for key in (*MESSAGE_KEYS, *SIDEBAR_KEYS) if key.footer),
    *("help", "new", "app.quit", "again", "search_said", "conversations", "copy_answer", "models", "panel"),
)
"""Actions as they are bound, the most important first: while something is marked, what is done to it."""


def importance(action: str) -> int:
    """Where an action stands among those that want room in the footer: 0 is the most important."""
    return _FOOTER.index(action) if action in _FOOTER else len(_FOOTER)


class KeyNames:
    """The user's keys, as texts on the screen name them."""

    def __init__(self, remapped: Mapping[str, str]) -> None:
        """`remapped`: see the function of this name."""
        every = [key for key in (*KEYS, *MESSAGE_KEYS, *SIDEBAR_KEYS) if key.name and key.keys]
        self._shown = {key.name: _best_known(key.keys_in(remapped).split(",")) for key in every}

    def __getitem__(self, name: str) -> str:
        """The key of this name, as "Ctrl+R"; of several, the one that is best known."""
        return self._shown[name]

    def told(self, text: str) -> str:
        """`text` with every `{name}` replaced by its key; for texts of our own, without other braces."""
        return text.format_map(self._shown)


def bindings() -> list[BindingType]:
    """What the chat screen binds. Priority: the text area must not take Ctrl+Y and its like."""
    return [_binding(key, key.action, priority=not key.yields) for key in KEYS if key.action]


def message_bindings() -> list[BindingType]:
    """What the transcript binds: actions of the chat screen on its focused turn."""
    return [_binding(key, f"screen.{key.action}") for key in MESSAGE_KEYS]


def sidebar_bindings() -> list[BindingType]:
    """What the list of conversations binds: actions of the chat screen on the marked one."""
    return [_binding(key, f"screen.{key.action}") for key in SIDEBAR_KEYS if key.action]


def prompt_keys(name: str, remapped: Mapping[str, str]) -> list[str]:
    """Keys that are no bindings: the prompt itself looks for them."""
    return next(key.keys_in(remapped) for key in KEYS if key.name == name).split(",")


def remapped(chosen: Mapping[str, str]) -> dict[str, str]:
    """The keys of `chosen` by name, as Textual calls them: a keymap for the app.

    Raises `UsageError` for a name that is none, for a key that is none, for one that would be missed when a
    message is written, and for one that would do two things.
    """
    known = {key.name: key for key in (*KEYS, *MESSAGE_KEYS, *SIDEBAR_KEYS) if key.name and key.keys}
    found: dict[str, str] = {}
    for name, text in chosen.items():
        if name not in known:
            raise UsageError(
                f"[keys] names {name!r}, which is no key of smallchat", f"Known: {', '.join(known)}"
            )
        try:
            keys = [keynames.parse(part) for part in text.split(",")]
        except ValueError as error:
            raise UsageError(f"[keys] sets {name} to {text!r}: {error}", 'Write it like "ctrl+r"') from None
        lost = [key for key in keys if keynames.types_something(key)]
        if lost and known[name] in KEYS:
            what = f"[keys] sets {name} to {text!r}, which is needed to write messages"
            raise UsageError(what, "Take one with ctrl or alt, or f1 to f24")
        found[name] = ",".join(dict.fromkeys(keys))
    for scope in (KEYS, (*KEYS, *MESSAGE_KEYS), (*KEYS, *SIDEBAR_KEYS)):
        _refuse_conflicts([key for key in scope if key.name and key.keys], found)
    return found


def _refuse_conflicts(scope: Sequence[Key], found: Mapping[str, str]) -> None:
    for one in scope:
        for other in scope:
            if one is other or one.name not in found:
                continue
            both = set(one.keys_in(found).split(",")) & set(other.keys_in(found).split(","))
            if both - (set(one.keys.split(",")) & set(other.keys.split(","))):
                key = keynames.shown(min(both))
                what = f"[keys] sets {one.name} to {key}, which is {other.name} already"
                raise UsageError(what, f"Take another key, or give {other.name} one")


def _best_known(keys: Sequence[str]) -> str:
    key = "escape" if "escape" in keys else keys[0]
    if len(key) == 1 and key.isalpha():
        return key.upper() if key.islower() else f"Shift+{key}"
    return keynames.shown(key)


def _binding(key: Key, action: str, priority: bool = False) -> Binding:
    return Binding(
        key.keys,
        action,
        key.footer or key.meaning,
        show=bool(key.footer),
        priority=priority,
        id=key.name,
    )
