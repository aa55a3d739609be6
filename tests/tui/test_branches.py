"""Other answers and other wordings: branches, shown as such, and nothing overwritten."""

from __future__ import annotations

from smallchat import paths
from smallchat.chat.store import Store
from smallchat.engine.client import Message
from tests.support.scripted_engine import ScriptedEngine
from tests.tui.running import Running, running
from tests.tui.test_messages import marked


def asked(run: Running, number: int) -> list[tuple[str, str]]:
    """What the engine was given: roles and texts."""
    return [(message.role, message.content) for message in run.engine.chats[number].messages]


def said(run: Running) -> list[str]:
    return [turn.content for turn in run.turns]


async def two(run: Running) -> None:
    """A question with two answers, and another one behind the second."""
    await run.answer("Hello?", "First.")
    await run.pilot.press("ctrl+r")
    await run.until(lambda: len(run.engine.chats) == 2)
    run.engine.answer("Second.")
    await run.until(lambda: not run.chat.dialogue.busy)
    await run.answer("And?", "More.")
    await run.settle()


async def test_branches_are_shown_and_switched_without_leaving_the_prompt() -> None:
    async with running() as run:
        await two(run)
        await run.shows("Second.", "‹ 2/2 ›", "More.")
        await run.pilot.press("alt+left")
        await run.shows("First.", "‹ 1/2 ›")
        await run.shows_no_more("More.")
        assert run.prompt.has_focus
        assert run.stored() == [("user", "Hello?", "complete"), ("assistant", "First.", "complete")]
        await run.pilot.press("alt+left", "alt+right")
        await run.shows("Second.", "More.")
        assert said(run) == ["Hello?", "Second.", "And?", "More."]


async def test_the_branch_that_was_open_opens_again() -> None:
    async with running() as run:
        await two(run)
        await run.pilot.press("alt+left")
        await run.shows("‹ 1/2 ›")
    async with running() as run:
        await run.pilot.press("ctrl+o", "enter")
        await run.shows("First.", "‹ 1/2 ›")
        await run.ask("Why first?")
        assert asked(run, 0) == [("user", "Hello?"), ("assistant", "First."), ("user", "Why first?")]


async def test_a_message_in_other_words_makes_a_branch() -> None:
    async with running() as run:
        await two(run)
        await run.type("a draft")
        await run.pilot.press("escape", "g", "e")
        await run.until(lambda: run.prompt.text == "Hello?")
        await run.shows("In other words")
        await run.type(" You there?")
        await run.pilot.press("enter")
        await run.until(lambda: len(run.engine.chats) == 4)
        assert run.engine.chats[3].messages == [Message("user", "Hello? You there?")]
        run.engine.answer("Yes.")
        await run.shows("Hello? You there?", "‹ 2/2 ›", "Yes.")
        assert run.prompt.text == "a draft"
        await run.pilot.press("escape", "g", "h")
        await run.shows("Second.", "More.", "‹ 1/2 ›")
        assert marked(run) == "Hello?"
        store = Store(paths.conversations())
        (listed,) = store.conversations()
        assert (listed.messages, listed.branches, listed.draft) == (7, 3, "a draft")
        store.close()


async def test_esc_leaves_a_message_as_it_was() -> None:
    async with running() as run:
        await two(run)
        await run.type("a draft")
        await run.pilot.press("escape", "g", "e", "x")
        await run.until(lambda: run.prompt.text == "Hello?x")
        await run.pilot.press("escape")
        await run.until(lambda: run.prompt.text == "a draft")
        await run.shows_no_more("In other words")
        assert len(run.engine.chats) == 3


async def test_an_edit_survives_a_crash_beside_the_draft() -> None:
    async with running() as run:
        await two(run)
        await run.type("a draft")
        await run.pilot.press("escape", "g", "e", "x")
        await run.until(lambda: not run.chat._keeper.pending)
        # As a crash leaves it: nobody says goodbye.
        run.chat._keeper.save_draft = lambda text: None  # type: ignore[method-assign]
    async with running() as run:
        assert run.prompt.text == "Hello?x"
        await run.shows("In other words")
        await run.pilot.press("escape")
        await run.until(lambda: run.prompt.text == "a draft")


async def test_an_edited_answer_is_a_branch_that_the_conversation_goes_on_from() -> None:
    async with running() as run:
        await two(run)
        await run.type("a draft")
        await run.pilot.press("escape", "g", "j", "e")
        await run.until(lambda: run.prompt.text == "Second.")
        await run.shows("Edit the answer")
        await run.type(" Really.")
        await run.pilot.press("enter")
        await run.shows("Second. Really.", "‹ 3/3 › · edited by you")
        assert run.prompt.text == "a draft"
        assert said(run) == ["Hello?", "Second. Really."]
        assert len(run.engine.chats) == 3
        run.prompt.text = ""
        await run.ask("Sure?")
        assert asked(run, 3) == [("user", "Hello?"), ("assistant", "Second. Really."), ("user", "Sure?")]
        run.engine.answer("Yes.")
        await run.shows("Yes.")
        await run.pilot.press("escape", "g", "j", "h")
        await run.shows("Second.", "More.", "‹ 2/3 ›")
    async with running() as run:
        run.chat.open(run.chat._store.conversations()[0])
        await run.shows("Second.", "‹ 2/3 ›")
        await run.pilot.press("alt+right")
        await run.shows("Second. Really.", "‹ 3/3 › · edited by you")
        edited = run.turns[1]
        assert (edited.tokens, edited.speed, edited.sampling) == (None, None, {})
        assert edited.model == "SmallThinker 4B Q4_0"


async def test_esc_leaves_an_answer_as_it_was() -> None:
    async with running() as run:
        await two(run)
        await run.type("a draft")
        await run.pilot.press("escape", "g", "j", "e", "x")
        await run.until(lambda: run.prompt.text == "Second.x")
        await run.pilot.press("escape")
        await run.until(lambda: run.prompt.text == "a draft")
        await run.shows_no_more("Edit the answer")
        assert said(run) == ["Hello?", "Second.", "And?", "More."]
        assert len(run.turns[1].parent.children) == 2  # type: ignore[union-attr]


async def test_an_edited_answer_goes_on_but_cannot_be_made_again() -> None:
    async with running(temperature=0.8) as run:
        await run.answer("Story?", "Once.")
        await run.shows("Once.", "seed 7")
        await run.pilot.press("escape", "e")
        await run.until(lambda: run.prompt.text == "Once.")
        run.prompt.text = "Once upon"
        await run.pilot.press("enter")
        await run.shows("edited by you")
        await run.pilot.press("escape", "R")
        await run.shows("no seed gives it again")
        await run.pilot.press("o")
        await run.until(lambda: len(run.engine.chats) == 2)
        assert run.engine.chats[1].resume and run.engine.chats[1].sampling.temperature == 0.8
        assert asked(run, 1) == [("user", "Story?"), ("assistant", "Once upon")]
        run.engine.answer(" a time.")
        await run.shows("Once upon a time.", "edited by you")
        assert run.turns[1].sampling["seed"] is None
        await run.pilot.press("escape", "o")
        await run.shows("The last answer was not stopped")


async def test_another_answer_in_the_middle_keeps_what_followed() -> None:
    async with running() as run:
        await two(run)
        await run.pilot.press("escape", "g", "j", "r")
        await run.until(lambda: len(run.engine.chats) == 4)
        assert run.engine.chats[3].messages == [Message("user", "Hello?")]
        run.engine.answer("Third.")
        await run.shows("Third.", "‹ 3/3 ›")
        assert said(run) == ["Hello?", "Third."]
        await run.pilot.press("alt+left")
        await run.shows("Second.", "More.")


async def test_a_stopped_answer_goes_on_in_place() -> None:
    async with running() as run:
        await run.ask("Story?")
        run.engine.say("Once ", "upon")
        await run.shows("Once upon")
        await run.pilot.press("escape")
        await run.shows("seed 7 · stopped")
        await run.pilot.press("escape", "o")
        await run.until(lambda: len(run.engine.chats) == 2)
        assert run.engine.chats[1].resume
        assert asked(run, 1) == [("user", "Story?"), ("assistant", "Once upon")]
        assert run.engine.chats[1].messages[-1].ids == (1000, 1001)
        run.engine.say(" a ", "time.")
        await run.shows("Once upon a time.")
        run.engine.finish(seed=9)
        await run.shows("4 tokens", "seed 7")
        await run.shows_no_more("stopped")
        assert run.stored()[-1] == ("assistant", "Once upon a time.", "complete")
        await run.pilot.press("escape", "o")
        await run.shows("The last answer was not stopped")


async def test_an_answer_that_was_cut_when_the_engine_died_goes_on() -> None:
    async with running() as run:
        await run.ask("Story?")
        run.engine.say("Once ", "upon")
        await run.shows("Once upon")
        run.engine.die()
        await run.shows("Load again")
        await run.pilot.press("enter")
        await run.until(lambda: len(run.engine.starts) == 2)
        run.engine.ready()
        await run.until(lambda: run.chat.dialogue.ready)
        await run.type("/continue")
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.chats[-1].resume)
        run.engine.answer(" a time.")
        await run.shows("Once upon a time.")


async def test_an_answer_is_replayed_with_its_seed_and_settings() -> None:
    async with running(temperature=0.8) as run:
        await run.answer("Hello?", "First.")
        run.chat.dialogue.session.configure(None, "", {"temperature": 0.1, "top_k": 3})
        await run.answer("And?", "More.")
        await run.pilot.press("escape", "g", "j", "R")
        await run.until(lambda: len(run.engine.chats) == 3)
        replayed = run.engine.chats[2]
        drawn = replayed.sampling
        assert (drawn.seed, drawn.temperature, drawn.top_k) == (7, 0.8, 20)
        assert replayed.messages == [Message("user", "Hello?")]
        run.engine.answer("First.")
        await run.shows("‹ 2/2 ›", "First.")
        assert said(run) == ["Hello?", "First."]


async def test_a_replay_on_another_model_says_so() -> None:
    async with running() as run:
        await run.answer("Hello?", "First.")
    engine = ScriptedEngine()
    async with running(engine, ready=False) as run:
        await run.until(lambda: engine.starts)
        engine.ready(name="SmallThinker 21B")
        await run.until(lambda: run.chat.dialogue.ready)
        await run.pilot.press("ctrl+o", "enter")
        await run.shows("First.")
        await run.type("/replay")
        await run.pilot.press("enter")
        await run.shows("SmallThinker 4B Q4_0 made it")


async def test_branches_wait_for_the_answer() -> None:
    async with running() as run:
        await two(run)
        await run.ask("Long?")
        await run.pilot.press("alt+left")
        await run.shows("Esc stops it")
        assert len(run.turns) == 6
