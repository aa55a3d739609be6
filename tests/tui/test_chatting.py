"""Saying something and getting an answer."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from pathlib import Path

import pytest
from textual import events

from smallchat import paths
from smallchat.chat.store import Store
from smallchat.engine.client import Message
from tests.support.scripted_engine import ScriptedEngine
from tests.tui.running import running


async def test_a_question_gets_its_answer_token_by_token() -> None:
    async with running() as run:
        await run.ask("When do I prune the apple tree?")
        assert run.engine.chats[0].messages == [Message("user", "When do I prune the apple tree?")]
        assert run.prompt.text == ""
        run.engine.say("In ", "Feb")
        await run.shows("In Feb", "2 tokens · Esc stops")
        run.engine.say("ruary", ".")
        run.engine.finish(seed=7)
        await run.shows("In February.", "4 tokens · 25.0 tok/s · seed 7")
        assert run.stored() == [
            ("user", "When do I prune the apple tree?", "complete"),
            ("assistant", "In February.", "complete"),
        ]


async def test_the_conversation_so_far_is_sent_along() -> None:
    async with running(system="Be brief.") as run:
        await run.answer("One?", "1")
        await run.ask("Two?")
        assert run.engine.chats[1].messages == [
            Message("system", "Be brief."),
            Message("user", "One?"),
            Message("assistant", "1", (1000,)),
            Message("user", "Two?"),
        ]


async def test_reading_the_prompt_is_shown() -> None:
    async with running() as run:
        await run.ask("long")
        await run.shows("thinking · Esc stops")
        run.engine.read_prompt(120, 340)
        await run.shows("reading 120 of 340 tokens", "reading prompt 120/340")
        run.engine.say("ok")
        await run.shows("1 token · Esc stops")
        await run.shows_no_more("reading")


async def test_esc_stops_and_keeps_the_text() -> None:
    async with running() as run:
        await run.ask("Tell me a story")
        run.engine.say("Once ", "upon ", "a ")
        await run.shows("Once upon a")
        await run.pilot.press("escape")
        assert run.engine.cancelled == [run.engine.chats[0].number]
        await run.shows("3 tokens", "stopped")
        assert "Once upon a" in run.screen
        assert run.stored()[-1] == ("assistant", "Once upon a ", "stopped")


async def test_regenerating_makes_a_sibling_with_another_seed() -> None:
    async with running(seed=5) as run:
        await run.answer("Hello?", "First.")
        await run.pilot.press("ctrl+r")
        await run.until(lambda: len(run.engine.chats) == 2)
        assert run.engine.chats[1].messages == [Message("user", "Hello?")]
        assert [request.sampling.seed for request in run.engine.chats] == [5, None]
        run.engine.answer("Second.")
        await run.shows("Second.")
        assert "First." not in run.screen
        assert run.stored() == [("user", "Hello?", "complete"), ("assistant", "Second.", "complete")]
        store = Store(paths.conversations())
        answers = store.connection.execute("SELECT content, parent FROM messages WHERE role = 'assistant'")
        assert [tuple(row) for row in answers] == [("First.", 1), ("Second.", 1)]
        store.close()


async def test_regenerating_while_an_answer_is_made_is_refused() -> None:
    async with running() as run:
        await run.ask("Hello?")
        await run.pilot.press("ctrl+r")
        await run.shows("Esc stops it")
        assert len(run.engine.chats) == 1


async def test_regenerating_nothing_does_nothing() -> None:
    async with running() as run:
        await run.pilot.press("ctrl+r")
        assert run.engine.chats == []


async def test_a_message_sent_while_loading_waits_for_the_model() -> None:
    async with running(ready=False) as run:
        await run.shows("Reading the model", "Enter sends when the model is loaded")
        await run.type("Are you there?")
        await run.pilot.press("enter")
        await run.shows("Are you there?", "waiting for the model")
        assert run.engine.chats == []
        run.engine.ready()
        await run.until(lambda: run.engine.chats)
        run.engine.answer("Yes.")
        await run.shows("Yes.")
        await run.shows_no_more("waiting for the model")


async def test_a_waiting_message_can_be_taken_back_and_asked_again() -> None:
    async with running(ready=False) as run:
        await run.type("Are you there?")
        await run.pilot.press("enter")
        await run.shows("waiting for the model")
        await run.pilot.press("escape")
        await run.shows_no_more("waiting for the model")
        run.engine.ready()
        await run.settle()
        assert run.engine.chats == []
        await run.pilot.press("ctrl+r")
        await run.until(lambda: run.engine.chats)


async def test_enter_during_an_answer_keeps_the_message_until_then() -> None:
    async with running() as run:
        await run.ask("One?")
        run.engine.say("1")
        await run.type("Two?")
        await run.pilot.press("enter")
        await run.until(lambda: "Waiting: sends when this answer is complete" in run.hint)
        assert run.prompt.text == "Two?"
        run.engine.finish()
        await run.until(lambda: len(run.engine.chats) == 2)
        assert run.engine.chats[1].messages[-1] == Message("user", "Two?")
        assert run.prompt.text == ""


async def test_an_edit_holds_a_waiting_message_back() -> None:
    async with running() as run:
        await run.ask("One?")
        await run.type("Two?")
        await run.pilot.press("enter")
        await run.until(lambda: "Waiting" in run.hint)
        await run.pilot.press("backspace")
        run.engine.finish()
        await run.settle()
        assert len(run.engine.chats) == 1
        assert run.prompt.text == "Two"


async def test_typing_while_an_answer_streams() -> None:
    async with running() as run:
        await run.ask("One?")
        for index, key in enumerate("next"):
            run.engine.say(f"word{index} ")
            await run.pilot.press(key)
        await run.shows("word0 word1 word2 word3", "next")


async def test_keys_that_come_faster_than_the_screen_keep_their_order() -> None:
    async with running() as run:
        for key in ("a", "ctrl+j", "b", "shift+enter", "c", "enter", "d"):
            run.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await run.until(lambda: run.turns and run.prompt.text)
        assert run.turns[0].content == "a\nb\nc"
        assert run.prompt.text == "d"


@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter"])
async def test_a_new_line_does_not_send(key: str) -> None:
    async with running() as run:
        await run.pilot.press("a", key, "b")
        assert run.prompt.text == "a\nb"
        assert run.prompt.size.height == 2
        assert run.engine.chats == []


async def test_the_prompt_grows_to_eight_lines_and_no_more() -> None:
    async with running() as run:
        await run.type("\n".join(str(line) for line in range(30)))
        await run.until(lambda: run.prompt.size.height == 8)
        assert "29" in run.screen


async def test_an_empty_message_is_not_sent() -> None:
    async with running() as run:
        await run.pilot.press("enter", "space", "enter")
        assert run.engine.chats == []


async def test_the_hint_counts_the_draft() -> None:
    async with running() as run:
        await run.type("twelve chars")
        await run.until(lambda: "12 of 4,096 tokens" in run.hint)
        assert run.engine.counts[-1] == [Message("user", "twelve chars")]
        await run.type("x" * 3500)  # with less room for an answer, as nothing can be left out
        await run.until(lambda: "3,512 of 4,096 tokens · Enter sends" in run.hint)


async def test_the_hint_tells_what_comes_of_too_much() -> None:
    async with running() as run:
        await run.answer("x" * 2000, "y")
        await run.type("z" * 2000)
        await run.until(lambda: "too long: Enter asks what to leave out" in run.hint)
        await run.type("z" * 2096)
        await run.until(lambda: "6,097 of 4,096 tokens · too long: shorten it" in run.hint)


async def test_the_meter_follows_while_an_answer_is_made() -> None:
    async with running() as run:
        await run.ask("12345")
        run.engine.say("1234")
        await run.type("123")
        await run.until(lambda: "12 of 4,096 tokens" in run.hint)


async def test_nothing_is_left_out_before_the_user_agrees() -> None:
    async with running() as run:
        for number in range(3):
            await run.answer(f"question {number}", f"answer {number}")
        await run.ask("And now?")
        asked = run.engine.chats[-1]
        assert len(asked.messages) == 7
        run.engine.too_long(4)
        await run.shows(
            "The conversation has 4,000 tokens with this message; 3,072 fit",
            "To go on, the model would no longer read the first 4 messages",
            "“answer 1”",
        )
        assert run.engine.chats[-1] is asked
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.chats[-1] is not asked)
        sent = [one.content for one in run.engine.chats[-1].messages]
        assert sent == ["question 2", "answer 2", "And now?"]
        run.engine.answer("Well.")
        await run.shows("The first 4 messages no longer fit the context and were not sent", "Well.")
        # What was agreed on stays so, and is not asked again.
        await run.answer("And then?", "That.")
        assert len(run.engine.chats[-1].messages) == 5
        await run.until(lambda: run.engine.counts[-1][0].content == "question 2")


async def test_one_message_to_be_left_out_is_told_as_one() -> None:
    async with running() as run:
        await run.answer("one", "two")
        await run.ask("three")
        run.engine.too_long(1)
        await run.shows("no longer read the first message, “one”. It stays", "Leave it out")


@pytest.mark.parametrize("keys", [("right", "enter"), ("escape",)])
async def test_who_leaves_nothing_out_gets_no_answer_and_loses_nothing(keys: tuple[str, ...]) -> None:
    async with running() as run:
        await run.answer("one", "two")
        await run.ask("three")
        run.engine.too_long(2)
        await run.shows("Do not answer")
        await run.pilot.press(*keys)
        await run.shows("The conversation is too long for the", "left out")
        assert not run.chat.dialogue.busy
        assert len(run.engine.chats) == 2
        assert [text for _, text, _ in run.stored()] == ["one", "two", "three", ""]
        await run.pilot.press("ctrl+r")  # asked again, it is answered with all there is
        await run.until(lambda: len(run.engine.chats) == 3)
        assert len(run.engine.chats[-1].messages) == 3


async def test_an_answer_cut_by_the_context_says_so() -> None:
    async with running() as run:
        await run.ask("Everything?")
        run.engine.say("It began")
        run.engine.finish("context")
        await run.shows("cut: the context is full")


async def test_a_request_that_fails_is_told_below_its_answer() -> None:
    async with running() as run:
        await run.ask("too long")
        run.engine.fail("The message alone is longer than the context", "Shorten it", code=5)
        await run.shows("The message alone is longer than the context. Shorten it")
        assert run.stored()[-1][2] == "failed"
        await run.ask("short")


async def test_the_last_answer_can_be_copied() -> None:
    async with running() as run:
        await run.pilot.press("ctrl+y")
        await run.shows("no answer to copy yet")
        await run.answer("Hello?", "**Hi** there")
        await run.pilot.press("ctrl+y")
        await run.until(lambda: run.app.clipboard == "**Hi** there")


async def test_an_example_question_is_asked_by_tab_and_enter() -> None:
    async with running() as run:
        await run.pilot.press("tab", "enter")
        await run.until(lambda: run.engine.chats)
        assert run.engine.chats[0].messages[0].content in run.screen
        assert run.prompt.has_focus


async def test_an_example_question_is_asked_by_a_click() -> None:
    async with running() as run:
        await run.pilot.click("Choice")
        await run.until(lambda: run.engine.chats)


async def test_the_editor_writes_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as run:
        monkeypatch.setattr(run.app, "suspend", contextlib.nullcontext)
        monkeypatch.setenv("VISUAL", "sed -i s/draft/message/")
        await run.type("my draft")
        await run.pilot.press("ctrl+g")
        await run.until(lambda: run.prompt.text == "my message")
        monkeypatch.setenv("VISUAL", "no-such-editor-here")
        await run.pilot.press("ctrl+g")
        await run.shows("no-such-editor-here does not run")
        assert run.prompt.text == "my message"


async def test_an_editor_that_gives_nothing_back_leaves_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as run:
        monkeypatch.setattr(run.app, "suspend", contextlib.nullcontext)
        await run.type("my message")
        for visual, told in (
            ('vi "', 'VISUAL is no command (No closing quotation): vi "'),
            ('""', "The editor  does not run"),
            ("rm", "The file for the editor rm cannot be written or read"),
            ("false", "The editor false ended with code 1"),
        ):
            monkeypatch.setenv("VISUAL", visual)
            await run.pilot.press("ctrl+g")
            await run.until(lambda told=told: any(told in one.message for one in run.app._notifications))
            assert run.prompt.text == "my message"


async def test_what_an_editor_wrote_in_another_encoding_is_kept_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    written = "Grüße an draußen".encode("latin-1")
    (tmp_path / "written").write_bytes(written)
    async with running() as run:
        monkeypatch.setattr(run.app, "suspend", contextlib.nullcontext)
        monkeypatch.setenv("VISUAL", f"cp {shlex.quote(str(tmp_path / 'written'))}")
        await run.type("my draft")
        await run.pilot.press("ctrl+g")
        await run.until(lambda: run.app._notifications)
        (kept,) = tmp_path.glob("smallchat-*/message.md")
        assert [f"{kept} is no text in UTF-8" in one.message for one in run.app._notifications] == [True]
        assert (run.prompt.text, kept.read_bytes()) == ("my draft", written)
        (tmp_path / "written").write_bytes("Grüße\r\n".encode("utf-16"))
        await run.pilot.press("ctrl+g")
        await run.until(lambda: run.prompt.text == "Grüße")
    assert list(tmp_path.glob("smallchat-*")) == [kept.parent]


async def test_nothing_moves_while_nothing_happens() -> None:
    engine = ScriptedEngine()
    async with running(engine) as run:
        await run.answer("Hello?", "Hi.")
        await run.settle()
        assert run.chat.clock is not None and not run.chat.clock.awake
        assert not run.prompt.cursor_blink


async def test_what_one_should_know_of_how_the_model_runs_is_told_once() -> None:
    async with running(ready=False) as run:
        await run.until(lambda: run.engine.starts)
        run.engine.ready(kernels="numpy", notes=("ggml does not run here, so [NumPy] computes.",))
        await run.shows("so [NumPy] computes.")
        await run.settle()
        assert [note.message for note in run.app._notifications] == [
            "ggml does not run here, so [NumPy] computes."
        ]
