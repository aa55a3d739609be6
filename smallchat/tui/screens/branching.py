"""Other answers, other wordings, going on: what is done to one message that makes or opens a branch."""

from __future__ import annotations

from textual.content import Content

from smallchat.chat.records import CONTINUED, Turn
from smallchat.tui.keeper import Keeper
from smallchat.tui.screens.messages import Messages
from smallchat.tui.text import one_line, plain

EDITING = {
    "user": "In other words · {send} makes a branch · {messages} leaves it as it was",
    "assistant": "Edit the answer · {send} makes a branch · {messages} leaves it as it was",
}
"""By whose message it is."""
_CAN_GO_ON = ("length", "context")


class Branching(Messages):
    """A screen whose messages can be said and answered in other words. Nothing is overwritten by it."""

    _keeper: Keeper

    def recount(self) -> None:
        """The conversation is of another length for the model now."""
        raise NotImplementedError

    def action_messages(self) -> None:
        """No longer say it in other words; else see `Messages`."""
        if self._keeper.edited is not None and self.prompt.has_focus:
            self.end_edit()
        else:
            super().action_messages()

    # Branches

    def action_branch(self, step: int) -> None:
        """The answer or wording before or behind this one, in the same place."""
        session = self.dialogue.session
        turn = self.transcript.focused_turn or next(
            (turn for turn in reversed(session.turns) if len(session.siblings(turn)) > 1), None
        )
        if turn is None or self._busy():
            return
        beside = session.siblings(turn)
        place = beside.index(turn) + step
        if 0 <= place < len(beside):
            session.switch(beside[place])
            self.transcript.focus_turn(beside[place])
            self.recount()
            self.wake()

    def action_again_turn(self) -> None:
        """Another answer: beside the focused one, or to the focused message."""
        turn = self.transcript.focused_turn
        if turn is None or self._busy():
            return
        answer = turn if turn.role == "assistant" else turn.onward
        if answer is not None:
            self.dialogue.beside(answer)
        else:
            self.dialogue.again()
        self._follow_answer()

    def action_replay_turn(self) -> None:
        """The focused answer once more, with its own seed and settings."""
        self._replay(self.transcript.focused_turn)

    def _replay(self, turn: Turn | None) -> None:
        if turn is None or self._busy():
            return
        if turn.edited:
            self.tell("You edited this answer: no seed gives it again. Its first text can be made again")
            return
        if turn.role != "assistant" or turn.sampling.get("seed") is None:
            self.tell("Only an answer whose seed is known can be made again")
            return
        model = self.dialogue.model
        if model and turn.model != model:
            self.tell(f"{one_line(turn.model)} made it, this is {one_line(model)}: it will be another answer")
        elif CONTINUED in turn.sampling:
            self.tell("It was continued: what its seed drew is made again, from its beginning")
        self.dialogue.replay(turn)
        self._follow_answer()

    def action_go_on(self) -> None:
        """Continue the last answer where it was stopped."""
        last = self.dialogue.session.last
        if last is None or self._busy():
            return
        ended = last.status == "complete" and last.finish not in _CAN_GO_ON
        if last.role != "assistant" or (ended and not (last.edited and not last.finish)):
            self.tell("The last answer was not stopped")
        elif self.dialogue.ready is None:
            self.tell("The model is not loaded yet")
        else:
            self.dialogue.go_on()
            self._follow_answer()

    async def command_continue(self, _: str) -> None:
        """The same, by its name."""
        self.action_go_on()

    async def command_replay(self, _: str) -> None:
        """The last answer once more, with its own seed and settings."""
        answers = [turn for turn in self.dialogue.session.turns if turn.role == "assistant"]
        self._replay(answers[-1] if answers else None)

    # Other words

    def action_edit_turn(self) -> None:
        """Put the focused message into the prompt; sent from there, it begins a branch."""
        turn = self.transcript.focused_turn
        if turn is None or self._busy():
            return
        self._keeper.edit(turn, self.prompt.text)
        self._write(turn.content)

    def send_edit(self, text: str) -> None:
        """The other words are found: send them, unless they are the same."""
        turn = self._keeper.edited
        if turn is None or self._busy() or not (text.strip() or turn.attached):
            return
        if text != plain(turn.content):
            self.dialogue.edit(turn, text)
        self.end_edit()
        self.transcript.anchor()
        self.recount()

    def end_edit(self) -> None:
        """Back to what was being written before."""
        self._write(self._keeper.end_edit())

    def told_edit(self) -> Content | None:
        """What stands on the prompt's border while a message is being changed."""
        edited = self._keeper.edited
        return Content(self.key_names.told(EDITING[edited.role])) if edited is not None else None

    def _write(self, text: str) -> None:
        self.prompt.text = text
        self.prompt.move_cursor(self.prompt.document.end)
        self.prompt.focus()
        self.wake()

    def _busy(self) -> bool:
        if self.dialogue.busy:
            self.tell(self.key_names.told("An answer is being made. {stop} stops it"))
        return self.dialogue.busy

    def _follow_answer(self) -> None:
        self.prompt.focus()
        self.transcript.anchor()
        self.recount()
        self.wake()
