"""Another model within the chat."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.tui import models
from smallchat.tui.models import ListedModel, called
from tests.tui.running import running

LISTED = [
    ListedModel("smallchat demo · Q8_0", "builtin", paths.builtin_model(), 4_700_000, "fits", "built in"),
    ListedModel("SmallThinker 4B · Q4_0", "4b", Path("/models/4B.gguf"), 2_470_000_000, "fits", "hub cache"),
    ListedModel("broken.gguf", "broken", Path("/models/broken.gguf"), 12, "ends early", "hub cache", False),
    ListedModel("SmallThinker 21B", "21b", None, 12_200_000_000, "experts from disk", "to fetch"),
]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is the same on every machine."""

    async def listed() -> list[ListedModel]:
        return LISTED

    monkeypatch.setattr(models, "listed", listed)
    monkeypatch.setattr("smallchat.tui.screens.models.listed", listed)


def test_a_name_means_the_nearest_model() -> None:
    assert called("4b", LISTED) == [LISTED[1]]
    assert called("21B", LISTED) == [LISTED[3]]
    assert called("demo", LISTED) == [LISTED[0]]
    assert called("SmallThinker", LISTED) == [LISTED[1], LISTED[3]]
    assert called("7b", LISTED) == []


async def test_the_real_list_names_what_is_here_and_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('nothing is imported from where the user is')")
    monkeypatch.chdir(tmp_path)
    paths.models().mkdir(parents=True)
    shutil.copy(paths.builtin_model(), paths.models() / "mine.gguf")
    (paths.models() / "damaged.gguf").write_bytes(paths.builtin_model().read_bytes()[:200_000])
    found = await models.listed()
    assert [one.short for one in found if one.path is None] == ["4b", "21b"]
    here = {one.path.name: one for one in found if one.path is not None}
    assert here["mine.gguf"].works and here["mine.gguf"].place == "models folder"
    assert not here["damaged.gguf"].works
    assert found[-3].demo and found[-3].short == "builtin"


@pytest.mark.usefixtures("few")
async def test_another_model_is_loaded_and_the_conversation_stays() -> None:
    async with running() as run:
        await run.answer("Hello?", "Hi.")
        await run.pilot.press("f5")
        await run.shows("SmallThinker 4B · Q4_0", "to fetch", "ends early")
        await run.pilot.press("j", "enter")
        await run.until(lambda: len(run.engine.starts) == 2)
        assert run.engine.starts[1].path == Path("/models/4B.gguf")
        assert not run.engine.starts[1].demo
        run.engine.ready(name="Another")
        await run.shows("Another", "Hi.")
        await run.answer("Still there?", "Yes.")
        assert [turn.content for turn in run.turns] == ["Hello?", "Hi.", "Still there?", "Yes."]
        await run.type("/model demo")
        await run.pilot.press("enter")
        await run.until(lambda: len(run.engine.starts) == 3)
        assert run.engine.starts[2].demo


@pytest.mark.usefixtures("few")
async def test_a_model_that_is_not_here_can_be_fetched_and_that_can_be_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    async with running() as run:
        await run.type("/model 21b")
        await run.pilot.press("enter")
        await run.shows("The model 21b is not on this machine", "Back")
        assert "Quit" not in run.screen.split("Back")[0].rsplit("\n", 1)[-1]
        await run.pilot.click("#quit")
        await run.shows_no_more("is not on this machine")
        assert len(run.engine.starts) == 1
        await run.answer("Hello?", "Hi.")


@pytest.mark.usefixtures("few")
async def test_what_cannot_be_chosen_is_said() -> None:
    async with running() as run:
        await run.type("/model 7b")
        await run.pilot.press("enter")
        await run.shows("There is no model '7b'")
        await run.pilot.press("f5")
        await run.shows("ends early")
        await run.pilot.press("j", "j", "enter")
        await run.shows("/models/broken.gguf: ends early")
        await run.pilot.press("escape")
        run.prompt.text = "Hello?"
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.chats)
        run.prompt.text = "/model demo"
        await run.pilot.press("enter")
        await run.shows("An answer is being made")
    async with running(endpoint="http://127.0.0.1:9/v1") as run:
        await run.type("/model")
        await run.pilot.press("enter")
        await run.shows("whose model --model chooses")


@pytest.mark.usefixtures("few")
async def test_on_a_low_screen_the_marked_model_and_what_is_told_are_in_view() -> None:
    async with running(size=(40, 10)) as run:
        await run.pilot.press("f5")
        await run.shows("smallchat demo", "Speeds are expected", "measures them", "Esc closes ─╯")
        await run.pilot.press("end")
        await run.shows("SmallThinker 21B", "to fetch", "measures them")
        await run.pilot.press("k", "enter")
        await run.shows("  broken.gguf  ", "/models/broken.gguf: ends early")
