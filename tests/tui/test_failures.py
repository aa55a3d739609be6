"""A model that does not load, an engine that dies, a fault of our own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smallchat import paths
from smallchat.engine.client import LoadOptions
from smallchat.engine.events import Failed, Resized
from smallchat.errors import ModelError
from smallchat.tui.app import SCREEN_BYTES
from smallchat.tui.screens.problem import ProblemScreen
from smallchat.tui.widgets.prompt.prompt import Prompt
from tests.support.scripted_engine import ScriptedEngine
from tests.tui.running import MODEL, Running, running


async def failed(run: Running) -> None:
    await run.until(lambda: run.engine.starts)
    run.engine.fail("small.gguf ends in the middle of a tensor", "Download it again")
    await run.shows("small.gguf ends in the middle of a tensor", "Download it again", "Load again")


async def test_a_model_that_fails_to_load_can_be_loaded_again() -> None:
    async with running(ready=False) as run:
        await run.type("kept")
        await failed(run)
        await run.pilot.press("enter")
        await run.until(lambda: len(run.engine.starts) == 2)
        assert run.engine.starts[1] == replace(MODEL, beside=SCREEN_BYTES)
        run.engine.ready()
        await run.settle()
        assert run.prompt.text == "kept"
        await run.answer("?", "Yes.")
        await run.shows("Yes.")


async def test_every_way_is_in_view_on_a_small_screen_and_the_text_can_be_read_to_its_end() -> None:
    async with running(ready=False, size=(40, 10)) as run:
        await run.until(lambda: run.engine.starts)
        run.engine.fail("small.gguf is odd", f"Download it again, {'or another one, ' * 20}or none")
        await run.shows("small.gguf is odd", "Load again", "Use the built-in model", "Quit")
        await run.pilot.press("pagedown", "pagedown", "pagedown", "pagedown")
        await run.shows("or none", "Load again", "Use the built-in model", "Quit")
        await run.pilot.press("escape")
        await run.settle_frames()
        assert isinstance(run.app.screen, ProblemScreen)  # none of the ways is harmless


async def test_the_built_in_model_is_offered_instead() -> None:
    async with running(ready=False) as run:
        await failed(run)
        await run.pilot.press("tab", "enter")
        await run.until(lambda: len(run.engine.starts) == 2)
        assert run.engine.starts[1] == replace(
            MODEL, path=paths.builtin_model(), demo=True, beside=SCREEN_BYTES
        )
        run.engine.ready(demo=True)
        await run.shows("Demonstration model")


async def test_the_built_in_model_is_not_offered_instead_of_itself() -> None:
    async with running(ready=False, load=LoadOptions(paths.builtin_model(), demo=True)) as run:
        await failed(run)
        assert "built-in" not in run.screen


async def test_a_failed_load_can_be_the_end() -> None:
    async with running(ready=False) as run:
        await failed(run)
        await run.pilot.press("left", "enter")
        await run.until(lambda: not run.app.is_running)
    assert run.engine.closed


async def test_a_message_waits_through_a_failed_load() -> None:
    async with running(ready=False) as run:
        await run.type("Hello?")
        await run.pilot.press("enter")
        await failed(run)
        await run.pilot.press("enter")
        await run.until(lambda: len(run.engine.starts) == 2)
        run.engine.ready()
        await run.until(lambda: run.engine.chats)


async def test_an_engine_that_dies_leaves_the_text_and_can_be_started_again() -> None:
    async with running() as run:
        await run.ask("Tell me")
        run.engine.say("It ", "was")
        await run.shows("It was")
        run.engine.die()
        await run.shows("ended unexpectedly", "Load again")
        assert run.stored()[-1] == ("assistant", "It was", "failed")
        await run.pilot.press("enter")
        await run.until(lambda: len(run.engine.starts) == 2)
        run.engine.ready()
        await run.settle()
        await run.shows("It was", "The text up to there is kept")
        await run.pilot.press("ctrl+r")
        await run.until(lambda: len(run.engine.chats) == 2)
        run.engine.answer("Better.")
        await run.shows("Better.")


async def test_an_engine_that_falls_silent_is_dead_too() -> None:
    async with running() as run:
        await run.ask("Tell me")
        run.engine._queue.put_nowait(None)
        await run.shows("The decoder ended unexpectedly", "Load again")


async def test_a_worker_that_cannot_start_is_told() -> None:
    class Broken(ScriptedEngine):
        async def start(self, options: LoadOptions) -> None:
            self.starts.append(options)
            raise FileNotFoundError(2, "No such file or directory", "python")

    async with running(Broken(), ready=False) as run:
        await run.shows("The decoder does not start", "Load again")


async def test_asking_a_dead_engine_opens_the_dialog() -> None:
    async with running() as run:
        run.engine.dead = True
        await run.type("Hello?")
        await run.pilot.press("enter")
        await run.shows("No model is loaded")
        assert isinstance(run.app.screen, ProblemScreen)


async def test_known_errors_keep_their_words() -> None:
    async with running() as run:
        run.chat.dialogue.fail(ModelError("The file is odd", "Use another"))
        await run.shows("The file is odd", "Use another")


async def test_a_fault_of_our_own_is_told_in_one_line_and_the_chat_goes_on() -> None:
    def broken(self: Prompt) -> None:
        raise ZeroDivisionError("of all things")

    async with running() as run:
        run.chat.action_help = broken.__get__(run.prompt)  # type: ignore[method-assign]
        await run.pilot.press("f1")
        await run.shows("smallchat made a mistake (ZeroDivisionError)")
        await run.answer("Still there?", "Yes.")
        await run.shows("Yes.")
        assert len(run.app.faults) == 1
        run.app.faults.clear()
    assert "of all things" in (paths.state() / "app.log").read_text()


async def test_a_fault_while_a_message_is_written_loses_no_more_than_a_key() -> None:
    async with running() as run:
        real, run.prompt._complete = run.prompt._complete, lambda text, cursor: 1 // 0
        await run.pilot.press("/")
        await run.shows("smallchat made a mistake (ZeroDivisionError)")
        run.prompt._complete = real
        run.prompt.text = ""
        await run.answer("Still there?", "Yes.")
        await run.shows("Yes.")
        run.app.faults.clear()


async def test_a_fault_in_drawing_does_not_stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as run:
        real = run.chat.panel.show
        monkeypatch.setattr(run.chat.panel, "show", lambda dialogue: 1 / 0)
        await run.ask("Hello?")
        await run.shows("smallchat made a mistake (ZeroDivisionError)")
        monkeypatch.setattr(run.chat.panel, "show", real)
        run.engine.answer("Hi.")
        await run.shows("Hi.", "seed 7")
        run.app.faults.clear()


async def test_a_file_that_changed_under_an_answer_leaves_the_text_and_is_loaded_again() -> None:
    async with running() as run:
        await run.ask("Tell me")
        run.engine.say("It ", "was")
        await run.shows("It was")
        run.engine.fail("small.gguf was changed while it was in use", "Load the model again")
        await run.shows("was changed while it was in use", "Load again")
        assert run.stored()[-1] == ("assistant", "It was", "failed")
        await run.pilot.press("enter")
        await run.until(lambda: len(run.engine.starts) == 2)


async def test_another_memory_budget_is_asked_for_and_told() -> None:
    async with running() as run:
        await run.type("/mem 2G")
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.resizes == [2 << 30])
        run.engine.resized(Resized(2 << 30))
        await run.shows("Memory budget: 2.00G")
        await run.type("/mem none")
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.resizes[1:] == [None])
        run.engine.resized(Resized(None))
        await run.shows("No memory limit any more")
        await run.type("/mem 1M")
        await run.pilot.press("enter")
        await run.until(lambda: len(run.engine.resizes) == 3)
        run.engine.resized(Failed("A budget of 1M is too small", "The smallest is 1G", 4))
        await run.shows("A budget of 1M is too small")
        assert run.prompt.text == "/mem 1M"  # to be corrected
