"""The chat: transcript, prompt and panel, drawn on one clock from the state of the dialogue."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import TextArea

from smallchat import paths
from smallchat.chat.records import Conversation
from smallchat.chat.search import Search
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.engine.client import EngineClient, LoadOptions
from smallchat.engine.events import Failed, Ready
from smallchat.errors import SmallchatError, StorageError
from smallchat.settings import Settings
from smallchat.tui import commands, garbage, keys
from smallchat.tui.attachments import Attachment, mentioned, together
from smallchat.tui.clock import Clock
from smallchat.tui.completing import complete
from smallchat.tui.dialogue import Dialogue
from smallchat.tui.editor import edit
from smallchat.tui.faults import Guarded, tell_fault
from smallchat.tui.frames import Frames, one_frame
from smallchat.tui.history import History
from smallchat.tui.keeper import Keeper
from smallchat.tui.screens.conversations import Conversations
from smallchat.tui.screens.model_choice import ModelChoice
from smallchat.tui.screens.problem import model_problem
from smallchat.tui.text import plain
from smallchat.tui.widgets.footer import KeyFooter
from smallchat.tui.widgets.ground import Column, Row
from smallchat.tui.widgets.panel.panel import Panel
from smallchat.tui.widgets.prompt.attached import AttachedLines
from smallchat.tui.widgets.prompt.hint import hint
from smallchat.tui.widgets.prompt.prompt import Prompt
from smallchat.tui.widgets.sidebar.sidebar import Sidebar
from smallchat.tui.widgets.topline import TopLine
from smallchat.tui.widgets.transcript.transcript import Transcript
from smallchat.tui.widgets.transcript.welcome import RECENT, Choice

COUNT_AFTER = 0.05
"""Seconds after a key press at which the draft's tokens are counted, with all that is typed until then."""


class ChatScreen(Guarded, Conversations, ModelChoice):
    """The one screen that is always there."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings()
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (110, "-roomy"), (160, "-broad")]  # noqa: RUF012

    def __init__(self, settings: Settings, load: LoadOptions, client: EngineClient, store: Store) -> None:
        super().__init__()
        self._compositor = Frames()
        self._settings = settings
        self._load = load
        self._store = store
        store.hurried = True
        session = Session.first(store, settings.system)
        self.dialogue = Dialogue(client, session, settings.sampling(), self.moved)
        self._keeper = Keeper(self.dialogue)
        remapped = keys.remapped(settings.keys)
        self.key_names = keys.KeyNames(remapped)
        self.transcript = Transcript(self.wake, self.key_names)
        self.prompt = Prompt(
            lambda text, at: complete(text, at, self.names()),
            History(self._said),
            remapped,
        )
        self.attached: list[Attachment] = []
        self.attached_lines = AttachedLines(self.key_names)
        self._topline = TopLine()
        self.panel = Panel()
        self.sidebar = Sidebar()
        self.search = Search(store)
        self.clock: Clock | None = None
        self._queued = False
        self._to_count_at: float | None = None
        self._state: tuple[bool, Ready | None, Session] | None = None
        """What decides which keys do something, and how long the conversation is for the model."""
        self._told_problem = ""
        self._told_failure: Failed | None = None
        self._told_ready: Ready | None = None
        self._welcomed: tuple[Session, bool] | None = None

    def compose(self) -> ComposeResult:
        yield self._topline
        with Row(id="body"):
            yield self.sidebar
            with Column(id="talk"):
                yield self.transcript
                yield self.prompt.completions
                yield self.attached_lines
                yield self.prompt
            yield self.panel
        yield KeyFooter()

    def on_mount(self) -> None:
        """Show what there is; the model is loaded behind the first frame."""
        self.clock = Clock(self, self.tick)
        self.screen_layout_refresh_signal.subscribe(self, self.uncover, immediate=True)
        self.prompt.text = self._keeper.restore()
        self.restore_attached()
        self.prompt.move_cursor(self.prompt.document.end)
        self.prompt.focus()
        self.wake()
        self.call_after_refresh(self.start_engine)

    def start_engine(self) -> None:
        """Load the model, and listen to what comes of it."""
        if self.notebook is None:
            self.open_notes()
        self.run_worker(_prepare, thread=True)
        self.run_worker(self.catch_up(), group="index")  # a search ends the search before it
        self.run_worker(self._run_engine(), group="engine", exclusive=True)

    async def _run_engine(self) -> None:
        try:
            await self.dialogue.load(self._load)
            await self.dialogue.listen()
        except Exception as error:
            if not isinstance(error, SmallchatError | OSError):
                tell_fault(self.app, error)
            self.dialogue.fail(error)

    # The clock

    def wake(self) -> None:
        """The user did something: draw it now."""
        if self.clock is not None:
            self.clock.now()

    def moved(self) -> None:
        """Something changed: draw it at the next tick."""
        if self.clock is not None:
            self.clock.wake()

    def on_resize(self) -> None:
        """What is drawn by width or height is drawn anew once the layout is known."""
        self.call_after_refresh(self.wake)

    async def tick(self) -> None:
        """Draw, save and count what is due; sleep when there is nothing."""
        dialogue = self.dialogue
        state = (dialogue.busy, dialogue.ready, dialogue.session)
        if state != self._state:
            self._state = state
            self.refresh_bindings()
            self._to_count_at = time.monotonic()
        async with one_frame(self.app):
            await self._draw()
        self._send_queued()
        self._count_when_due()
        self._keeper.save_when_due()
        self._tell_storage(self._keeper.problem)
        self.show_notes()
        self.offer_summary()
        self._tell_notes(dialogue.ready)
        self._tell_failure()
        self.ask_what_to_leave_out()
        moving = dialogue.working or self._keeper.pending or self._to_count_at is not None
        if self.clock is not None and not moving:
            self.clock.rest()
            if not self.clock.awake:
                # Not in the timer's own task: a tick could come in between.
                self.set_timer(garbage.AFTER_SECONDS, lambda: self.call_later(self._tidy))

    async def _draw(self) -> None:
        dialogue = self.dialogue
        self._topline.show(dialogue, self._store.saves)
        self.panel.show(dialogue)
        self.show_sidebar()
        await self._show_welcome()
        await self.transcript.show(dialogue)
        hints = (
            self.notes_state(),
            hint(dialogue, self.key_names, self._queued, self.transcript.at_end),
        )
        self.prompt.tell(commands.hint(self.prompt.text, self.key_names) or " · ".join(filter(None, hints)))
        self.prompt.tell_here(self.told_edit() or Content(self.told_here()))

    async def _tidy(self) -> None:
        if self.clock is not None and not self.clock.awake:
            await self.transcript.tidy()
            garbage.tidy()

    async def _show_welcome(self) -> None:
        session = self.dialogue.session
        demo = self.dialogue.ready.demo if self.dialogue.ready else self._load.demo
        if session.turns or self._welcomed == (session, demo):
            return
        self._welcomed = (session, demo)
        await self.transcript.welcome(demo, self.conversations(RECENT))

    def recount(self) -> None:
        """The conversation is of another length for the model now."""
        self._to_count_at = time.monotonic()

    def on_completions_picked(self) -> None:
        """A completion was clicked."""
        self.prompt.take()

    def _count_when_due(self) -> None:
        if self._to_count_at is not None and time.monotonic() >= self._to_count_at:
            self._to_count_at = None  # an engine that is not there yet is asked when it is
            self.run_worker(self._count_draft(), group="count", exclusive=True)

    async def _count_draft(self) -> None:
        text = self.prompt.text
        if self.attached or mentioned(text):
            await self.sync_files(text)
        self.dialogue.count(self.with_attached(text))

    def _send_queued(self) -> None:
        if not self._queued or self.dialogue.busy:
            return
        self._queued = False
        last = self.dialogue.session.last
        if last is not None and last.status == "failed":
            return  # the user should see that first; the text is still in the prompt
        self.send(self.prompt.text)

    def _tell_storage(self, problem: StorageError | None) -> None:
        told = str(problem) if problem else ""
        if told != self._told_problem:
            self._told_problem = told
            if told:
                self.notify(plain(told), title="Not saved", severity="error", timeout=12, markup=False)

    def _tell_notes(self, ready: Ready | None) -> None:
        """How this model runs, where that is not as one would expect: once, when it is loaded."""
        if ready is not self._told_ready:
            self._told_ready = ready
            for note in ready.notes if ready else ():
                self.notify(plain(note), severity="warning", timeout=12, markup=False)

    def _tell_failure(self) -> None:
        failed = self.dialogue.failure
        if failed is None:
            self._told_failure = None
        elif failed is not self._told_failure and self.is_current:
            self._told_failure = failed
            self.app.push_screen(model_problem(failed, self._load), self._resolve_failure)

    async def _resolve_failure(self, way: str | None) -> None:
        if way == "quit":
            await self.app.action_quit()
            return
        if way == "builtin":
            self._load = replace(self._load, path=paths.builtin_model(), demo=True)
        self.start_engine()

    # Saying something

    async def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Enter: send, or keep it in the prompt until the answer before it is complete."""
        if self._keeper.edited is not None:
            self.send_edit(event.text)
            return
        if not event.text.strip() and not self.attached:
            return
        try:
            call = commands.called(event.text)
            takes_along = call is None or call[0].takes_along
            if takes_along and (self.attached or mentioned(event.text)):
                await self.sync_files(event.text)
                self.check_attached()
        except SmallchatError as error:
            self.tell(str(error))
            return
        if self.dialogue.busy and (call is None or call[0].asks):
            self._queued = True
        else:
            self.send(event.text)
        self.wake()

    def send(self, text: str) -> None:
        """Say it, or do it; the prompt then only holds what was typed behind it."""
        if text.strip():
            self.prompt.said.add(text)
        elif not self.sendable:  # what was waiting to be sent was taken out meanwhile
            return
        call = commands.called(text)
        if call is None and self.asks_notes and text.strip():
            call = commands.named("notes"), text
        if call is None or call[0].asks:
            self._told_failure = None  # without a model, the dialog comes again
        if call is not None:
            self.prompt.forget(text)
            self.run_command(*call, text)
            return
        key, sent = self.dialogue.session.id, self.sendable
        self._keeper.send(text, *together(sent))
        self.drop_attached(key, sent)
        self.prompt.forget(text)
        self.transcript.anchor()
        self.wake()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Keep the draft. An edited message is not sent by itself any more."""
        self._queued = False
        self._keeper.typed(event.text_area.text)
        if self._to_count_at is None:
            self._to_count_at = time.monotonic() + COUNT_AFTER
        if self.clock is not None:
            self.clock.typed()

    def on_choice_chosen(self, event: Choice.Chosen) -> None:
        """A line of the welcome was picked."""
        self.prompt.focus()
        if isinstance(event.what, Conversation):
            self.open(event.what)
        elif not self.dialogue.busy:
            self.send(event.what)

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Esc is only offered while it does something."""
        return self.dialogue.busy and not self.prompt.completions.shown if action == "stop" else True

    def action_stop(self) -> None:
        """End the answer, or no longer wait for one."""
        self.dialogue.stop()

    def action_again(self) -> None:
        """Another answer to the last message."""
        if self.dialogue.busy:
            self.tell(self.key_names.told("An answer is being made. {stop} stops it"))
            return
        self._told_failure = None
        self.transcript.anchor()
        self.dialogue.again()
        self.wake()

    def action_edit(self) -> None:
        """The message in the user's editor."""
        if self.dialogue.busy:
            self.tell(
                self.key_names.told("The editor needs the whole terminal. {stop} stops the answer first")
            )
            return
        # Keys that were typed just before may still wait for the prompt: the editor comes behind them.
        self.prompt.call_later(self._edit)

    def _edit(self) -> None:
        try:
            self.prompt.text = edit(self.app, self.prompt.text)
        except SmallchatError as error:  # which may say where a text is kept: time to read it
            self.notify(plain(str(error)), severity="warning", timeout=12, markup=False)
        self.prompt.move_cursor(self.prompt.document.end)

    def leave(self) -> None:
        """The app is about to end: keep what was made and typed."""
        if self.clock is not None:
            self.clock.stop()
        self._store.hurried = False  # nothing is tried again
        self._keeper.save_draft(self.prompt.text)
        self.dialogue.leave(self.dialogue.session)

    def on_unmount(self) -> None:
        """The store is closed after this, and must be the last to use the file."""
        self.search.close()

    def _said(self) -> list[str]:
        try:
            return [plain(text) for text in self._store.said()]
        except StorageError as error:
            self._tell_storage(error)
            return []


def _prepare() -> None:
    """Behind the first frame, and before the first answer has to wait for it."""
    from smallchat.tui.widgets.panel import memory
    from smallchat.tui.widgets.transcript import markdown

    markdown.prepare()
    memory.own_memory()
    garbage.begin()
