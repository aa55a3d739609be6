"""Pictures of what is used from the prompt: completion, attachments, models; and of every theme."""

from __future__ import annotations

import pytest
from textual import events

from smallchat.tui.models import ListedModel
from tests.tui.running import Running
from tests.tui.test_models import LISTED
from tests.tui.test_pictures import Compare, chat, chinese, empty, picture

__all__ = ["picture"]

HOSTILE = "long " * 60 + "\x1b[31mred\x07 \u202egnp.exe 家族 👨‍👩‍👧 שלום עולם"


async def commands(run: Running) -> None:
    await empty(run)
    await run.pilot.press(*"/s")
    await run.shows("› /system")
    await run.pilot.press("down")


async def attached(run: Running) -> None:
    run.engine.ready()
    await run.until(lambda: run.chat.dialogue.ready)
    for text in ("line\n" * 50, HOSTILE * 20):
        run.prompt.post_message(events.Paste(text))
    await run.until(lambda: len(run.chat.attached) == 2 and all(one.exact for one in run.chat.attached))
    await run.type("What do these say?")
    await run.until(lambda: "of 4,096 tokens" in run.hint)


async def sent(run: Running) -> None:
    await attached(run)
    await run.ask(f" {HOSTILE}")
    run.engine.answer(f"שלום. {HOSTILE}\n\n```\n{HOSTILE}\n```")
    await run.until(lambda: not run.chat.dialogue.busy)


async def models(run: Running) -> None:
    await empty(run)
    await run.pilot.press("f5")
    await run.shows("SmallThinker 21B")


async def alone(run: Running) -> None:
    await chat(run)
    await run.shows("can wait", "stopped")
    await run.pilot.press("ctrl+up")
    await run.until(lambda: run.transcript.focused_turn)
    await run.pilot.press("v")
    await run.shows("Y copies")


def test_commands_offered(picture: Compare) -> None:
    assert picture(commands)


def test_commands_offered_in_80_by_24(picture: Compare) -> None:
    assert picture(commands, size=(80, 24))


def test_attachments(picture: Compare) -> None:
    assert picture(attached)


def test_attachments_in_80_by_24_without_colour(picture: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture(attached, size=(80, 24))


def test_hostile_text_with_attachments(picture: Compare) -> None:
    assert picture(sent, size=(160, 50), theme="light")


def test_models(picture: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    async def listed() -> list[ListedModel]:
        return LISTED

    monkeypatch.setattr("smallchat.tui.screens.models.listed", listed)
    assert picture(models)


def test_a_message_alone(picture: Compare) -> None:
    assert picture(alone)


@pytest.mark.parametrize("theme", ["light", "contrast", "terminal"])
def test_a_chat_in_every_theme(picture: Compare, theme: str) -> None:
    assert picture(chat, size=(160, 50), theme=theme)


def test_a_chat_in_the_terminals_colours_in_80_by_24(picture: Compare) -> None:
    assert picture(chinese, size=(80, 24), theme="terminal")
