"""Files and pasted texts that go along with a message: found, counted, read, taken out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from textual.content import Content

from smallchat.chat.store import Store
from smallchat.errors import StorageError
from smallchat.tui import attachments, filenames
from smallchat.tui.attachments import Attachment, AttachmentError
from smallchat.tui.completing import Candidate, Names
from smallchat.tui.screens.chat_commands import ChatCommands
from smallchat.tui.screens.pick import PickScreen
from smallchat.tui.screens.view import ViewScreen
from smallchat.tui.text import count, plain
from smallchat.tui.widgets.prompt.attached import AttachedLines
from smallchat.tui.widgets.prompt.prompt import Prompt

TREE_SECONDS = 30.0
"""How long the names in all folders below are taken for fresh."""
HERE = Path()
"""The folder that smallchat runs in. Its name is not asked for: deleted meanwhile, it has none."""
READ, INSERT, REMOVE = range(3)


class Attaching(ChatCommands):
    """A prompt with attachments."""

    _store: Store
    attached_lines: AttachedLines
    attached: list[Attachment]

    def names(self) -> Names:
        """Also the names of files."""
        names = {"mention": self._file_names, "file": lambda typed: self._file_names(typed, as_mention=False)}
        return {**super().names(), **names}

    def _file_names(self, typed: str, as_mention: bool = True) -> Sequence[Candidate]:
        def read(folder: Path, deep: bool) -> Sequence[str]:
            async def look_up() -> Sequence[Candidate]:
                names = filenames.names_below if deep else filenames.names_in
                return [Candidate(name) for name in await asyncio.to_thread(names, folder)]

            fresh = TREE_SECONDS if deep else 2.0
            return [one.text for one in self.lookups.get((folder, deep), look_up, fresh)]

        return filenames.fitting(typed, read, HERE, as_mention)

    # Which there are

    async def sync_files(self, text: str) -> None:
        """Make the attached files those that `text` names, each as it is on the disk now."""
        known = {one.name: one for one in self.attached if one.kind == "file"}
        pastes = [one for one in self.attached if one.kind == "paste"]
        files: list[Attachment] = []
        for name in attachments.mentioned(text):
            before = known.get(name) or known.get(name.rstrip(attachments.TRAILING))
            found = await asyncio.to_thread(self._file, name, before)
            if found is not None and all(found.name != one.name for one in files):
                files.append(found)
        self.attached = [*files, *pastes]
        for one in self.attached:
            if not one.exact and not one.problem:
                self.run_worker(self._count(one), group="attached")
        self.show_attached()

    def _file(self, name: str, before: Attachment | None) -> Attachment | None:
        """In a thread: the attachment that a mention means; None: it means none."""
        found = attachments.file_of(name, HERE)
        if found is None:
            if before is not None:
                before.problem = "is no longer there: take it out, or bring it back"
            return before
        name, path = found
        if before is not None and not before.problem and before.stamp == attachments.stamp_of(path):
            return before
        try:
            return attachments.read_file(name, path)
        except AttachmentError as error:
            return Attachment("file", name, "", problem=str(error).removeprefix(f"{name} "))

    async def _count(self, one: Attachment) -> None:
        dialogue = self.dialogue
        exact = dialogue.ready is not None and dialogue.answer is None
        empty = await dialogue.measure("", alone=True)
        one.tokens = max(0, await dialogue.measure(one.given, alone=True) - empty)
        one.exact = exact
        self.show_attached()

    def show_attached(self) -> None:
        """Draw the lines above the prompt."""
        self.attached_lines.show(self.attached, self.context_size)

    def with_attached(self, text: str) -> str:
        """`text` as the model would be given it now."""
        given, _ = attachments.together(self.sendable)
        return "\n\n".join(filter(None, (given, text)))

    async def on_prompt_pasted(self, event: Prompt.Pasted) -> None:
        """A long text: a line of its own instead of a full prompt."""
        numbers = [int(one.name) for one in self.attached if one.kind == "paste"]
        self.attached.append(Attachment("paste", str(max(numbers, default=0) + 1), event.text))
        self._pastes_changed()
        await self.sync_files(self.prompt.text)
        self.recount()
        self.wake()

    def on_attached_lines_wanted(self) -> None:
        """They were clicked."""
        self.action_attachments()

    # What becomes of them

    def check_attached(self) -> None:
        """Raises `AttachmentError` where one cannot be sent."""
        bad = next((one for one in self.attached if one.problem), None)
        if bad is not None:
            raise AttachmentError(
                f"{bad.label} {bad.problem}", self.key_names.told("{attachments} takes it out")
            )

    def drop_attached(self, conversation: int | None, sent: Sequence[Attachment]) -> None:
        """These are sent, with a message that is saved; `conversation`: where they were written."""
        self.attached = [one for one in self.attached if one not in sent]
        if any(one.kind == "paste" for one in sent):
            self._save_pastes(conversation, [one.text for one in self.attached if one.kind == "paste"])
        self.show_attached()

    def restore_attached(self) -> None:
        """Those of the conversation that is open now; its files are found when its draft is looked at."""
        try:
            texts = self._store.pastes(self.dialogue.session.id)
        except StorageError as error:
            self.tell(str(error))
            texts = []
        self.attached = [Attachment("paste", str(number), text) for number, text in enumerate(texts, 1)]
        self.recount()
        self.show_attached()

    def action_attachments(self) -> None:
        """List them; what is chosen can be read, put into the prompt, or taken out."""
        if not self.attached:
            self.tell("Nothing is sent along. @ names a file; a long text that is pasted becomes a line here")
            return
        lines = [
            Content(f"{plain(one.label)}  {plain(one.problem) or count(one.tokens or 0, 'token')}")
            for one in self.attached
        ]

        def chosen(place: int | None) -> None:
            if place is not None:
                self._choose_way(self.attached[place])

        self.app.push_screen(PickScreen("Sent along with the message", lines), chosen)

    def _choose_way(self, one: Attachment) -> None:
        ways = {READ: "Read it", REMOVE: "Take it out"}
        if one.kind == "paste":
            ways = {READ: "Read it", INSERT: "Put it into the prompt", REMOVE: "Take it out"}

        def chosen(place: int | None) -> None:
            way = None if place is None else list(ways)[place]
            if way == READ:
                self.app.push_screen(ViewScreen(plain(one.label), one.text))
            elif way is not None:
                self._take_out(one, insert=way == INSERT)

        self.app.push_screen(PickScreen(plain(one.label), [Content(way) for way in ways.values()]), chosen)

    def _take_out(self, one: Attachment, insert: bool) -> None:
        if one in self.attached:
            self.attached.remove(one)
        if one.kind == "file":
            for written in (f'@"{one.name}"', f"@{one.name}"):
                self.prompt.text = self.prompt.text.replace(written, one.name)
            self.prompt.move_cursor(self.prompt.document.end)
        else:
            self._pastes_changed()
        if insert:
            self.prompt.insert(one.text)
        self.recount()
        self.show_attached()

    def _pastes_changed(self) -> None:
        texts = [one.text for one in self.attached if one.kind == "paste"]
        self._save_pastes(self.dialogue.session.id, texts)

    def _save_pastes(self, conversation: int | None, texts: list[str]) -> None:
        try:
            self._store.save_pastes(conversation, texts)
        except StorageError as error:
            self.tell(str(error))
