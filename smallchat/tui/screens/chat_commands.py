"""The slash commands for the conversation itself. Each is the method `command_NAME` of one in `COMMANDS`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace

from smallchat import paths, settings
from smallchat.chat.personas import personas
from smallchat.engine.events import Failed, Resized
from smallchat.errors import SmallchatError
from smallchat.files import meant, write_new
from smallchat.settings import Sampling, UsageError, parse_size
from smallchat.tui import themes
from smallchat.tui.completing import Candidate, Names, commands
from smallchat.tui.lookups import Lookups
from smallchat.tui.screens.note_commands import NoteCommands
from smallchat.tui.text import one_line, size
from smallchat.tui.widgets.panel.memory import own_memory

NONE = "none"
DEFAULT = "default"
SETTINGS = {
    "temperature": "0: always the most likely token; 1: as the model thinks",
    "top_k": "choose among so many tokens; 0: all",
    "top_p": "choose among the likeliest that have this share of probability; 1: all",
    "min_p": "leave out what is less than so many times as likely as the best; 0: nothing",
    "repeat_penalty": "over 1: avoid what was just said",
    "seed": "the same seed, the same answer",
}
COPIES = [Candidate("code", "its last code block"), Candidate("all", "the conversation")]


class ChatCommands(NoteCommands):
    """What can be done from the prompt, beside notes."""

    _lookups: Lookups | None = None

    # What the model is told, and how its answers are drawn

    async def command_system(self, text: str) -> None:
        """Change or show the system prompt."""
        session = self.dialogue.session
        if not text:
            self._show("System prompt", one_line(session.system or "none"))
            return
        session.configure(None if text == NONE else text, "", session.sampling)
        self._told_anew("No system prompt any more" if text == NONE else "The system prompt is changed")

    async def command_persona(self, name: str) -> None:
        """Take a persona's system prompt."""
        known = await asyncio.to_thread(self._personas)
        if not name:
            where = f'Write them into {paths.config_file()}: [personas], then lines like teacher = "…"'
            names = ", ".join(known) or f"There is no persona yet. {where}"
            self._show("Personas", one_line(names))
            return
        session = self.dialogue.session
        if name == NONE:
            session.configure(self._settings.system, "", session.sampling)
        elif name in known:
            session.configure(known[name], name, session.sampling)
        else:
            raise UsageError(f"There is no persona {name!r}", f"Known: {', '.join(known) or NONE}")
        self._told_anew(f"Persona: {one_line(name)}")

    async def command_set(self, text: str) -> None:
        """Change or show one setting of this conversation's answers."""
        session = self.dialogue.session
        name, _, value = text.partition(" ")
        if not name:
            now = asdict(self.dialogue.sampling_here())
            lines = [f"{key} {'new each time' if one is None else one}" for key, one in now.items()]
            lines = [f"{line} (here)" if line.split()[0] in session.sampling else line for line in lines]
            self._show("How answers are drawn", "\n".join(lines))
            return
        if name == DEFAULT:
            session.configure(session.system, session.persona, {})
            self._told_anew("As in the settings again")
            return
        if name not in SETTINGS:
            raise UsageError(f"There is no setting {name!r} here", f"Known: {', '.join(SETTINGS)}, {DEFAULT}")
        here = {key: one for key, one in session.sampling.items() if key != name}
        if value.strip() not in ("", DEFAULT):
            here[name] = settings.checked(name, value.strip(), "/set")
        Sampling(**{**asdict(self.dialogue.sampling), **here})  # out of range: nothing is changed
        session.configure(session.system, session.persona, here)
        now = getattr(self.dialogue.sampling_here(), name)
        self._told_anew(f"{name} is {'a new one each time' if now is None else now} in this conversation")

    async def command_mem(self, text: str) -> None:
        """Change or show the memory budget, also while an answer comes."""
        dialogue = self.dialogue
        if not text:
            memory = dialogue.telemetry and dialogue.telemetry.memory
            told = "not known yet"
            if memory:
                total = memory.total + own_memory()
                limit = "no limit" if memory.budget is None else f"of {size(memory.budget)}"
                told = f"{size(total)} {limit}"
            self._show("Memory", told)
            return
        event = await dialogue.told(dialogue.client.resize(None if text == NONE else parse_size(text)))
        if isinstance(event, Failed):
            raise UsageError(event.what, event.cure)
        now = event.budget if isinstance(event, Resized) else None
        self._load = replace(self._load, mem=now)  # also for what is loaded later
        self._told_anew("No memory limit any more" if now is None else f"Memory budget: {size(now)}")

    def told_here(self) -> str:
        """What is special about this conversation, for the prompt's border; empty: nothing."""
        session = self.dialogue.session
        own_system = session.system is not None and session.system != self._settings.system
        parts = [one_line(session.persona) or ("own system prompt" if own_system else "")]
        parts += [f"{one_line(name)} {value}" for name, value in session.sampling.items()]
        return " · ".join(filter(None, parts))

    # The rest

    async def command_new(self, _: str) -> None:
        """A conversation without messages."""
        self.action_new()

    async def command_quit(self, _: str) -> None:
        """Quit."""
        await self.app.action_quit()

    async def command_copy(self, what: str) -> None:
        """Put something into the clipboard."""
        if what == "code":
            self.action_copy_code()
            return
        if what not in ("", "all"):
            raise UsageError(f"/copy does not know {what!r}", "Known: code, all; alone: the last answer")
        turns = [turn for turn in self.dialogue.session.turns if turn.content]
        text = "\n\n".join(f"{turn.role}: {turn.content}" for turn in turns) if what else self._answer()
        if not text:
            raise UsageError("There is nothing to copy yet", "Ask something")
        self.app.copy_to_clipboard(text)

    async def command_save(self, name: str) -> None:
        """Write the selection or the last answer into a new file."""
        if not name:
            raise UsageError("/save needs the name of a file", "/save answer.md")
        path, text = meant(name), self.get_selected_text() or self._answer()
        if not text:
            raise UsageError("There is nothing to save yet", "Ask something")
        await asyncio.to_thread(write_new, path, text)
        self.tell(f"Saved as {one_line(str(path.absolute()))}")

    async def command_theme(self, name: str) -> None:
        """Change the colours."""
        if not name:
            self.app.search_themes()
            return
        self.app.theme = themes.named(name)
        if self._settings.theme is not None:
            self.tell(f'The next start takes theme = "{self._settings.theme}" again, as the settings say')

    # Completion

    def names(self) -> Names:
        """What can be meant by the arguments of commands."""
        return {
            "command": lambda _: commands(self.key_names),
            "persona": lambda _: self.lookups.get("personas", self._find_personas),
            "theme": lambda _: [Candidate(theme.name.removeprefix(themes.PREFIX)) for theme in themes.THEMES],
            "copy": lambda _: COPIES,
            "setting": lambda _: self._setting_names(),
            "note": lambda _: self.lookups.get("notes", self._find_notes) if self.notebook else [],
        }

    @property
    def lookups(self) -> Lookups:
        """What is looked up while someone types."""
        if self._lookups is None:
            self._lookups = Lookups(
                lambda work: self.run_worker(work, group="lookups"), lambda: self.prompt.offer()
            )
        return self._lookups

    async def _find_personas(self) -> Sequence[Candidate]:
        try:
            known = await asyncio.to_thread(self._personas)
        except SmallchatError:
            return ()  # the command itself tells
        return (*(Candidate(name, text[:80]) for name, text in known.items()), Candidate(NONE))

    async def _find_notes(self) -> Sequence[Candidate]:
        from smallchat.notes.names import titles

        try:
            found = await asyncio.to_thread(titles, self.book().index)
        except SmallchatError:
            return ()
        return [Candidate(note.title, note.path) for note in found]

    def _setting_names(self) -> list[Candidate]:
        now = asdict(self.dialogue.sampling_here())
        told = {name: "new each time" if value is None else f"{value}" for name, value in now.items()}
        found = [Candidate(name, f"{told[name]} · {meaning}", " ") for name, meaning in SETTINGS.items()]
        return [*found, Candidate(DEFAULT, "all as in the settings again")]

    # Parts

    def action_copy_code(self) -> None:
        """A code block of the last answer."""
        raise NotImplementedError

    def action_new(self) -> None:
        """A conversation without messages."""
        raise NotImplementedError

    def _personas(self) -> dict[str, str]:
        return personas(self._settings.personas, paths.config() / "personas")

    def _answer(self) -> str:
        answers = [turn.content for turn in self.dialogue.session.turns if turn.role == "assistant"]
        return answers[-1] if answers else ""

    def _show(self, title: str, text: str) -> None:
        self.notify(text, title=title, timeout=12, markup=False)

    def _told_anew(self, text: str) -> None:
        self.tell(text)
        self.recount()
        self.wake()

    def recount(self) -> None:
        """The conversation is of another length for the model now."""
        raise NotImplementedError
