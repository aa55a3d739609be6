"""Every slash command of the chat, in one table: the dispatcher, the hint and the help are made from it.

A command `/name text` calls the method `command_name` of the chat screen with the text behind it. To add one:
a line in `COMMANDS`, and that method.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from smallchat.errors import ExitCode, SmallchatError
from smallchat.tui.keys import KeyNames

_CALL = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """A command: `argument` as it is shown, `asks` where it begins an answer of the model."""

    name: str
    argument: str
    meaning: str
    """What it does; a key in it is written as its name in braces, see `keys.KeyNames`."""
    asks: bool = False
    takes_along: bool = False
    """What is attached to the prompt goes with it."""
    completes: str = ""
    """What its argument names, for completion: a kind of `completing.Names`; empty: nothing in particular."""

    @property
    def usage(self) -> str:
        """As it is typed."""
        return f"/{self.name} {self.argument}".rstrip()


COMMANDS = (
    Command("new", "", "new conversation ({new})"),
    Command("continue", "", "go on with an answer that was stopped"),
    Command("replay", "", "the last answer once more, with its own seed and settings"),
    Command("find", "words", "search everything ever said ({search_said})"),
    Command("model", "[name]", "another model, or the list of those to be had", completes="model"),
    Command("system", "[text]", "what the model is told before all messages; /system none: nothing"),
    Command("persona", "[name]", "one of your personas as the system prompt; or none", completes="persona"),
    Command(
        "set",
        "[name value]",
        "how answers are drawn here; alone: shows it",
        completes="setting",
    ),
    Command("mem", "[6G]", "another memory budget from now on; none: no limit; alone: what is used"),
    Command(
        "copy",
        "[what]",
        "the last answer, its code, or all of the conversation",
        completes="copy",
    ),
    Command("save", "file", "write the selection, or the last answer, into a new file", completes="file"),
    Command("export", "file", "the conversation into a new file: .md, or all of it: .json", completes="file"),
    Command("theme", "[name]", "colours of the app", completes="theme"),
    Command(
        "notes",
        "question",
        "ask your notes; without a question: every message, or no longer",
        asks=True,
        takes_along=True,
    ),
    Command("search", "words", "search the notes as you type ({search_notes})"),
    Command("sources", "", "open the sources of the last answer ({sources})"),
    Command("note", "[title]", "save the selection, or the last answer, as a new note"),
    Command("append", "note", "add it to a note", completes="note"),
    Command("daily", "[text]", "add it, or this text, to today's note"),
    Command("summarise", "note", "a summary, written into it if you say yes", asks=True, completes="note"),
    Command("tags", "note", "tags that would fit it, added if you say yes", completes="note"),
    Command("links", "note", "notes that it names, linked if you say yes", completes="note"),
    Command("pin", "note or folder", "begin every conversation with it", completes="note"),
    Command("unpin", "", "no longer"),
    Command("help", "", "all keys and commands ({help})"),
    Command("quit", "", "end smallchat; everything is saved ({quit})"),
)


class CommandError(SmallchatError):
    """There is no such command."""

    exit_code = ExitCode.USAGE


def called(text: str) -> tuple[Command, str] | None:
    """The command that a message is, and what stands behind it; None: it is no command but a message.

    Raises `CommandError` for a command that does not exist. A path ("/usr/bin …") is a message.
    """
    call = _CALL.fullmatch(text.strip())
    if call is None or not text.startswith("/"):
        return None
    if not any(one.name == call[1] for one in COMMANDS):
        known = ", ".join(f"/{one.name}" for one in COMMANDS)
        raise CommandError(f"There is no command /{call[1]}", f"{known}. A space before it sends it as it is")
    return named(call[1]), (call[2] or "").strip()


def named(name: str) -> Command:
    """The command of this name, which exists."""
    return next(one for one in COMMANDS if one.name == name)


def hint(text: str, keys: KeyNames) -> str:
    """What the command means that is being typed; empty: none is."""
    if not text.startswith("/") or "\n" in text:
        return ""
    name, space, _ = text[1:].partition(" ")
    fitting = [one for one in COMMANDS if one.name == name or (not space and one.name.startswith(name))]
    if len(fitting) == 1:
        return f"{fitting[0].usage}: {keys.told(fitting[0].meaning)}"
    return " ".join(f"/{one.name}" for one in fitting)
