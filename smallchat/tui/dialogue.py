"""What is being said, and what the engine is doing about it. Knows no widget.

Events change the state here; the screen looks at it on its clock. So a thousand tokens a second cost the
screen no more than five.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace

from smallchat.chat.records import CONTINUED, Attached, Source, Turn
from smallchat.chat.session import Session
from smallchat.engine.client import EngineClient, LoadOptions, Message
from smallchat.engine.events import (
    Counted,
    Envelope,
    Event,
    Failed,
    Finished,
    Loading,
    PromptProgress,
    Ready,
    Telemetry,
    Token,
    TooLong,
)
from smallchat.errors import EngineError, ExitCode, SmallchatError
from smallchat.settings import Sampling
from smallchat.tui import composing

RECENT = 200
"""Tokens that the panel's sparkline remembers."""

MEASURE_SECONDS = 10.0
"""How long to wait for an exact count of tokens before it is estimated."""

DIED = Failed("The decoder ended unexpectedly", "Load the model again", int(ExitCode.ENGINE))


class Dialogue:
    """One engine and one session, and the answer that goes from one to the other."""

    def __init__(
        self, client: EngineClient, session: Session, sampling: Sampling, changed: Callable[[], None]
    ) -> None:
        """`changed` is called after every event."""
        self.client = client
        self.session = session
        self.sampling = sampling
        self.changed = changed
        self.stage = "Starting"
        self.ready: Ready | None = None
        self.failure: Failed | None = None
        """Why there is no engine; None while one runs or loads."""
        self.telemetry: Telemetry | None = None
        self.recent: deque[Token] = deque(maxlen=RECENT)
        """The last tokens, without the first of each answer: its time is only that of sampling."""
        self.progress: PromptProgress | None = None
        """How far the prompt is read; None outside of that."""
        self.reading: PromptProgress | None = None
        """… for a request of somebody else; see `told`."""
        self.answer: Turn | None = None
        """The answer that is being made."""
        self.wanted = False
        """The last message waits for its answer until the model is loaded."""
        self.counted: Counted | None = None
        """Tokens of the conversation with the draft, as last counted."""
        self.too_long: TooLong | None = None
        """The answer waits until the user decides what the model need not read; None outside of that."""
        self.pinned = ""
        """Text that every prompt begins with: the engine then has it read already."""
        self._request = 0
        self._warm_request = 0
        self._asked: dict[int, asyncio.Future[Event]] = {}
        self._count_request = 0
        self._count_next: str | None = None
        """A draft that is to be counted once the count before it is known."""
        self._seconds = 0.0
        self._beside: Turn | None = None
        """The answer that is wanted stands beside this one."""
        self._drawn: Sampling | None = None
        """How the answer that is wanted is drawn; None: as in this conversation."""
        self._begun: Sequence[int] = ()
        """The tokens that the answer which is wanted begins with."""
        self._resumes = False
        """The answer that is being made goes on behind what there was of it,"""
        self._before = 0
        """which was so many tokens."""
        self._left: list[Session] = []

    @property
    def busy(self) -> bool:
        """An answer is being made, or waited for."""
        return self.answer is not None or self.wanted

    @property
    def model(self) -> str:
        """Name and quantisation of the loaded model, as answers keep it; empty: none is loaded."""
        return f"{self.ready.name} {self.ready.quantisation}".rstrip() if self.ready else ""

    @property
    def working(self) -> bool:
        """Something on the screen moves by itself."""
        return self.busy or (self.ready is None and self.failure is None)

    async def load(self, options: LoadOptions) -> None:
        """Begin to load; `listen` then tells how it goes."""
        self.ready, self.failure, self.telemetry, self.stage = None, None, None, "Starting"
        self._count_request = 0
        self.recent.clear()
        self.changed()
        await self.client.start(options)

    async def listen(self) -> None:
        """Take every event until the engine ends."""
        async for envelope in self.client.events():
            self.take(envelope)
        if self.failure is None:
            self._end_engine(DIED)

    def fail(self, error: Exception) -> None:
        """The engine cannot even be started."""
        if isinstance(error, SmallchatError):
            self._end_engine(Failed(error.what, error.cure, int(error.exit_code)))
        else:
            what = f"The decoder does not start: {error}"
            self._end_engine(Failed(what, "Try again", int(ExitCode.ENGINE)))

    def send(
        self,
        text: str,
        given: str = "",
        sources: Sequence[Source] = (),
        attached: Sequence[Attached] = (),
    ) -> None:
        """The user says something; the answer begins now, or when the model is loaded.

        `given` and what it holds: see `Session.ask`.
        """
        self.session.ask(text, given, sources, attached)
        self._want()

    def edit(self, turn: Turn, text: str) -> None:
        """A message in other words: a branch. A question gets an answer of its own; an answer is one."""
        self.session.edit(turn, text)
        if turn.role == "user":
            self._want()
        self.changed()

    def pin(self, text: str) -> None:
        """Begin every prompt with `text`, and have the engine read it now, while nobody waits for it."""
        self.pinned = text
        if not text or self.ready is None or self.busy:
            return
        messages = [*composing.system(self.session, text), Message("user", "?")]
        try:
            self._warm_request = self.client.chat(messages, self.sampling, max_tokens=1)
        except EngineError as error:
            self._end_engine(Failed(error.what, error.cure, int(error.exit_code)))

    def sampling_here(self) -> Sampling:
        """How answers are drawn in this conversation."""
        return replace(self.sampling, **self.session.sampling)  # type: ignore[arg-type]

    async def measure(self, text: str, alone: bool = False) -> int:
        """Tokens of a conversation that holds nothing but `text` and, unless `alone`, what is pinned.

        Estimated from the length where no model is loaded.
        """
        begun = [] if alone else composing.system(self.session, self.pinned)
        messages = [*begun, Message("user", text)]
        if self.ready is not None:
            with contextlib.suppress(EngineError, asyncio.CancelledError, TimeoutError):
                told = await asyncio.wait_for(self.told(self.client.count(messages)), MEASURE_SECONDS)
                if isinstance(told, Counted):
                    return told.tokens
        return sum(len(message.content.encode("utf-8", "replace")) for message in messages) // 3

    def again(self) -> None:
        """Another answer to the last message. Does nothing where there is none."""
        if self.session.last is not None and self.session.last.role == "user":
            self._want()
        else:
            self.beside(self.session.last)

    def beside(self, answer: Turn | None) -> None:
        """Another answer beside this one, to the same question. Does nothing where nothing was asked."""
        if answer is not None and answer.parent is not None:
            # The same seed would only give the same answer again.
            self._want(answer, replace(self.sampling_here(), seed=None))

    def replay(self, answer: Turn) -> None:
        """The same answer once more, beside itself: drawn with its own settings and seed."""
        if answer.parent is not None:
            self._want(answer, _drawn(answer))

    def go_on(self) -> None:
        """Continue the last answer in place. Does nothing where none has ended, or no model is loaded."""
        if self.ready is None or self.busy:
            return
        last = self.session.last
        if last is not None and not last.content:
            self.beside(last)
        elif answer := self.session.go_on():
            if answer.edited and not answer.sampling:
                answer.sampling = {**asdict(self.sampling_here()), "seed": None}
            answer.sampling.setdefault(CONTINUED, answer.tokens or 0)
            self._make(answer, resumes=True)

    def branch(self, answer: Turn, begun: Sequence[int]) -> None:
        """Another answer beside this one, which begins with these tokens. Only while there is an engine."""
        self._want(answer, begun=begun)

    def would_be_left_out(self) -> list[Message]:
        """The messages that `too_long` asks about."""
        composed = composing.conversation(self.session, self.pinned, but=self.answer)
        said = [message for message in composed if message.role != "system"]
        return said[: self.too_long.messages] if self.too_long is not None else []

    def leave_out(self, agreed: bool) -> None:
        """Go on without the oldest messages, as `too_long` asked; or give the answer up."""
        answer, too_long, self.too_long = self.answer, self.too_long, None
        if answer is None or too_long is None:
            return
        if agreed:
            answer.trimmed += too_long.messages
            self._ask()
        else:
            answer.problem = "The conversation is too long for the context, and nothing was left out"
            self._finish("stopped", "cancelled")
        self.changed()

    def messages_before(self, turn: Turn) -> list[Message]:
        """What an answer was made from."""
        return composing.before(self.session, self.pinned, turn)

    def told(self, request: int) -> asyncio.Future[Event]:
        """What the engine first says to a request of one's own; listened for from now on."""
        future = self._asked[request] = asyncio.get_running_loop().create_future()
        return future

    def stop(self) -> None:
        """End the answer at its next token, or no longer wait for one."""
        self.wanted = False
        if self.too_long is not None:
            self.leave_out(False)
        elif self.answer is not None:
            self.client.cancel(self._request)
        self.changed()

    def leave(self, session: Session) -> None:
        """Go on with another session. An answer in flight is kept as far as it came."""
        self.wanted, self.too_long = False, None
        if self.answer is not None:
            self.client.cancel(self._request)
            self._finish("stopped", "cancelled")
        if not self.session.save():
            self._left.append(self.session)
        self.session = session
        self.counted = None
        self.changed()

    @property
    def unsaved(self) -> bool:
        """A message could not be saved, here or in a session left behind."""
        return self.session.problem is not None or bool(self._left)

    def save(self) -> bool:
        """Save what is new, in sessions left behind too; False where that failed."""
        self._left = [session for session in self._left if not session.save()]
        return self.session.save() and not self._left

    def count(self, draft: str) -> None:
        """Ask how long the conversation is with this draft; the answer comes into `counted`."""
        if self.ready is None:
            return
        if self._count_request:
            self._count_next = draft
            return
        messages = composing.conversation(self.session, self.pinned)  # with what there is of an answer
        if draft:
            messages.append(Message("user", draft))
        try:
            self._count_request = self.client.count(messages)
        except EngineError as error:
            self._end_engine(Failed(error.what, error.cure, int(error.exit_code)))

    def take(self, envelope: Envelope) -> None:
        """One event of the engine."""
        match envelope.event:
            case Loading(stage=stage):
                self.stage = stage
            case Ready() as ready:
                self.ready = ready
                self._begin()
                self.pin(self.pinned)
            case Telemetry() as telemetry:
                self.telemetry = telemetry
            case Counted() | Failed() as told if envelope.request == self._count_request != 0:
                self._take_count(told if isinstance(told, Counted) else None)
            case PromptProgress() as progress if envelope.request in self._asked:
                self.reading = progress
            case event if envelope.request in self._asked and not isinstance(event, Loading):
                self.reading = None
                waiting = self._asked.pop(envelope.request)
                if not waiting.done():
                    waiting.set_result(event)
            case Finished() if envelope.request == self._warm_request:
                self._warm_request = 0
            case Failed() as failed if self.ready is None or envelope.request == 0:
                self._end_engine(failed)
            case event if self.answer is not None and envelope.request == self._request:
                self._take_answer(self.answer, event)
        self.changed()

    def _take_count(self, counted: Counted | None) -> None:
        self.counted, self._count_request = counted, 0
        draft, self._count_next = self._count_next, None
        if draft is not None:
            self.count(draft)

    def _take_answer(self, answer: Turn, event: Event) -> None:
        match event:
            case TooLong() as too_long:
                self.too_long = too_long
            case PromptProgress() as progress:
                self.progress = progress
            case Token(text=text, seconds=seconds, index=index, finish=finish) as token:
                self.progress = None
                answer.content += text
                if finish != "stop":
                    if token.token_id >= 0:  # a server tells none
                        answer.ids.append(token.token_id)
                    answer.tokens = (answer.tokens or 0) + 1
                    self._seconds += seconds
                    if index:
                        self.recent.append(token)
            case Finished() as finished:
                if CONTINUED not in answer.sampling:
                    answer.sampling["seed"] = finished.seed
                    answer.prompt_tokens = finished.prompt_tokens
                answer.tokens = self._before + finished.generated_tokens
                self._seconds = finished.decode_seconds
                self._finish("stopped" if finished.reason == "cancelled" else "complete", finished.reason)
            case Failed(exit_code=ExitCode.MODEL) as failed:  # what is loaded is of no use any more
                self._end_engine(failed)
            case Failed(what=what, cure=cure):
                answer.problem = f"{what}. {cure}"
                self._finish("failed", "")

    def _want(
        self, beside: Turn | None = None, drawn: Sampling | None = None, begun: Sequence[int] = ()
    ) -> None:
        """Have an answer begin, now or when the model is loaded: to the last message, or beside another."""
        self._beside, self._drawn, self._begun, self.wanted = beside, drawn, begun, True
        self._begin()

    def _begin(self) -> None:
        """Ask for the answer that is wanted, if the engine can give it now."""
        if not self.wanted or self.ready is None:
            self.changed()
            return
        self.wanted = False
        sampling = self._drawn or self.sampling_here()
        answer = self.session.begin_answer(self.model, asdict(sampling), self._beside)
        answer.ids = [*self._begun]
        answer.trimmed = max((turn.trimmed for turn in self.session.turns), default=0)
        self._make(answer)

    def _make(self, answer: Turn, resumes: bool = False) -> None:
        """This answer is being made from now on; `resumes`: behind what there is of it."""
        self.answer, self.progress, self._seconds, self._resumes = answer, None, 0.0, resumes
        self._before = (answer.tokens or 0) if resumes else 0
        if self._warm_request:
            self.client.cancel(self._warm_request)
        self._ask()
        self.changed()

    def _ask(self) -> None:
        """Have the engine make the answer that was begun."""
        answer = self.answer
        assert answer is not None
        sampling, begun = _drawn(answer), answer.ids
        messages = composing.conversation(self.session, self.pinned, but=answer)
        if self._resumes:
            # Its own seed has drawn what there is, and would draw the same again.
            sampling, begun = replace(sampling, seed=None), []
            messages.append(Message("assistant", answer.content, tuple(answer.ids)))
        try:
            owner = self.session.id or 0
            self._request = self.client.chat(
                messages, sampling, resume=self._resumes, begun=begun, owner=owner
            )
        except EngineError as error:
            self._end_engine(Failed(error.what, error.cure, int(error.exit_code)))

    def _finish(self, status: str, reason: str) -> None:
        answer = self.answer
        if answer is None:
            return
        answer.status = status  # type: ignore[assignment]
        answer.finish = reason
        made = (answer.tokens or 0) - self._before
        if made and self._seconds > 0:
            answer.speed = made / self._seconds
        self.answer, self.progress = None, None
        self.session.save()

    def _end_engine(self, failed: Failed) -> None:
        """There is no engine any more: keep what it wrote, and say why it ended."""
        if self.answer is not None:
            kept = "The text up to there is kept"
            self.answer.problem = f"{failed.what}. {kept if self.answer.content else failed.cure}"
            self._finish("failed", "")
        self.ready, self.failure, self.too_long = None, failed, None
        asked, self._asked = self._asked, {}
        for future in asked.values():
            if not future.done():
                future.set_result(failed)
        self.changed()


def _drawn(answer: Turn) -> Sampling:
    """The settings that an answer keeps."""
    names = [field.name for field in fields(Sampling) if field.name in answer.sampling]
    return Sampling(**{name: answer.sampling[name] for name in names})  # type: ignore[arg-type]
