"""The keys that act on one message: the focused turn of the transcript."""

from __future__ import annotations

from textual.content import Content

from smallchat.chat.records import Turn
from smallchat.engine.events import TooLong
from smallchat.errors import SmallchatError
from smallchat.tui import code
from smallchat.tui.screens.pick import PickScreen
from smallchat.tui.screens.problem import too_long_problem
from smallchat.tui.screens.reading import Reading
from smallchat.tui.screens.step_back import StepBackScreen
from smallchat.tui.screens.view import ViewScreen
from smallchat.tui.stepping import Stepping
from smallchat.tui.text import count, one_line
from smallchat.tui.widgets.prompt.prompt import Prompt


class Messages(Reading):
    """A screen on which the keyboard belongs to the prompt or, with `action_messages`, to the messages."""

    prompt: Prompt
    _asked: TooLong | None = None

    def ask_what_to_leave_out(self) -> None:
        """Where the conversation no longer fits the context: once, before anything is left out."""
        dialogue = self.dialogue
        if dialogue.too_long is self._asked or not self.is_current:
            return
        self._asked = dialogue.too_long
        if dialogue.too_long is not None:
            ready = dialogue.ready
            more = ready is not None and ready.takes_more
            screen = too_long_problem(dialogue.too_long, dialogue.would_be_left_out(), more)
            self.app.push_screen(screen, lambda way: dialogue.leave_out(way == "out"))

    def action_messages(self) -> None:
        """From the prompt to the messages, and back."""
        if self.focused is self.transcript or not self.dialogue.session.turns:
            self.prompt.focus()
        else:
            self.transcript.can_focus = True  # the key may come before the first message is drawn
            self.transcript.focus()

    def action_turn(self, step: int) -> None:
        """The message before or behind the focused one; behind the last one, back to writing."""
        if not self.transcript.move_focus(step):
            self.action_messages()

    def action_turn_at(self, index: int) -> None:
        """The first (0) or the last (-1) message."""
        turns = self.dialogue.session.turns
        if turns:
            self.transcript.focus_turn(turns[index])

    def action_copy_message(self) -> None:
        """What is selected, or else the focused message."""
        selected = self.get_selected_text()
        turn = self.transcript.focused_turn
        if selected and selected.strip():
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
        elif turn is not None and turn.told:
            self.app.copy_to_clipboard(turn.content or turn.told)

    def action_copy_code(self) -> None:
        """A code block of the focused message, or else of the last answer; asks which."""
        answers = [turn for turn in self.dialogue.session.turns if turn.role == "assistant"]
        turn = self.transcript.focused_turn or (answers[-1] if answers else None)
        found = code.blocks(turn.content) if turn is not None else []
        if not found:
            self.tell("There is no code block in this message")
        elif len(found) == 1:
            self.app.copy_to_clipboard(found[0].text)
        else:
            screen = PickScreen("Which code block?", [_line(block) for block in found], len(found) - 1)

            def chosen(place: int | None) -> None:
                if place is not None:
                    self.app.copy_to_clipboard(found[place].text)

            self.app.push_screen(screen, chosen)

    def action_view_message(self) -> None:
        """The focused message alone, to select in."""
        turn = self.transcript.focused_turn
        if turn is not None:
            sent = [f"▤ {one.label}\n{turn.given[one.start : one.end]}" for one in turn.attached]
            text = "\n\n".join(filter(None, [turn.content, *sent]))
            self.app.push_screen(ViewScreen("You" if turn.role == "user" else "smallchat", text))

    def action_step_back(self) -> None:
        """Through the tokens of the focused answer, or else of the last one."""
        answers = [turn for turn in self.dialogue.session.turns if turn.role == "assistant" and turn.content]
        turn = self.transcript.focused_turn or (answers[-1] if answers else None)
        if turn not in answers:
            self.tell("There are tokens to step through in answers only")
        elif self.dialogue.busy:
            self.tell(self.key_names.told("An answer is being made. {stop} stops it"))
        elif self.dialogue.ready is None:
            self.tell("No model is loaded")
        else:
            self.run_worker(self._step_back(turn), group="stepping")

    async def _step_back(self, answer: Turn) -> None:
        stepping = Stepping(self.dialogue, answer)
        try:
            await stepping.begin()
        except SmallchatError as error:
            self.tell(str(error))
            return
        begun = await self.app.push_screen_wait(StepBackScreen(stepping))
        if begun is not None and not self.dialogue.busy:
            self.transcript.anchor()
            self.dialogue.branch(answer, begun)
            self.wake()


def _line(block: code.CodeBlock) -> Content:
    lines = block.text.strip().split("\n")
    told = " · ".join(filter(None, (one_line(block.language), count(len(lines), "line"))))
    return Content.assemble(Content(one_line(lines[0])).truncate(50, ellipsis=True), "  ", (told, "$quiet"))
