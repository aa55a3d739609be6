"""Text of models and users is only ever text."""

from __future__ import annotations

import pytest
from textual import events

from smallchat.tui.text import one_line, pasted, plain
from tests.tui.running import Running, running

HOSTILE = "\x1b]0;owned\x07 \x1b[2J\x9b31m\x00\x08 \u202egnp.exe\u2066 \x7f\rover"
FORBIDDEN = {
    chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def check(run: Running) -> None:
    assert not FORBIDDEN & set(run.screen.replace("\n", ""))


@pytest.mark.parametrize("text", ["plain", "tab\there", "two\nlines", "👨‍👩‍👧 家族 é", "[b]x[/b]"])
def test_ordinary_text_stays(text: str) -> None:
    assert plain(text) == text


def test_what_a_terminal_would_obey_becomes_visible() -> None:
    assert plain("a\x1b[31mb") == "a␛[31mb"
    assert plain("a\r\nb") == "a\nb"
    assert plain("\x9b\u202e\ud800") == "\ufffd\ufffd"
    assert pasted("one\rtwo\r\nthree") == "one\ntwo\nthree"
    assert one_line(" a\n\x1bb ") == "a ␛b"
    assert not FORBIDDEN & set(plain("".join(map(chr, range(0x3000)))).replace("\n", "").replace("\t", ""))


async def test_nothing_hostile_reaches_the_screen() -> None:
    async with running() as run:
        await run.ask(f"question {HOSTILE}")
        run.engine.say(f"answer {HOSTILE} `code {HOSTILE}`\n\n```\n{HOSTILE}\n```\n\n# head {HOSTILE}\n\n")
        run.engine.say(f"entities &#x202e;&#27;&#x9b; [link {HOSTILE}](http://e.example/&#x202e;) ")
        run.engine.say(f"| {HOSTILE} |\n|---|\n| {HOSTILE} |\n")
        run.engine.finish()
        await run.shows("answer", "entities")
        check(run)
        await run.pilot.press("ctrl+o")
        await run.until(lambda: run.chat.sidebar.shown and "Today" in run.screen)
        check(run)


async def test_a_hostile_model_name_or_failure_is_text_too() -> None:
    async with running(ready=False) as run:
        await run.until(lambda: run.engine.starts)
        run.engine.ready(name=f"[red]{HOSTILE}", quantisation="[/]")
        await run.shows("[red]")
        check(run)
        await run.ask("x")
        run.engine.fail(f"[bold]{HOSTILE}", "[/bold][/]")
        await run.shows("[bold]", "[/bold][/]")
        check(run)
        run.engine.emit(run.engine.ready_event, 0)
        run.chat.dialogue.fail(OSError(f"[b]{HOSTILE}[/b]"))
        await run.shows("[b]")
        check(run)


async def test_names_of_a_conversations_settings_are_text_too() -> None:
    """An earlier smallchat took in any name."""
    async with running() as run:
        run.chat.dialogue.session.configure(None, HOSTILE, {HOSTILE: 1})
        run.chat.wake()
        await run.until(lambda: str(run.prompt.border_title).endswith("over 1"))
        assert not FORBIDDEN & set(str(run.prompt.border_title))
        check(run)


@pytest.mark.parametrize("text", ["[bold red]shout[/]", "[@click=app.quit]click[/]", "[/closing]", "[[x]]"])
async def test_markup_is_not_interpreted(text: str) -> None:
    async with running() as run:
        await run.ask(f"user {text}")
        run.engine.answer(f"model `{text}` and outside {text}")
        await run.shows(f"user {text}", f"model {text} and outside {text}")
        await run.pilot.press("ctrl+n")
        await run.shows(f"User {text}")
        await run.pilot.press("ctrl+o")
        await run.shows("Today", f"User {text}")


async def test_html_of_a_model_stays_visible() -> None:
    async with running() as run:
        await run.answer("?", "<think>hm</think>\n\n<div>block</div>\n\nand <b>bold</b>")
        await run.shows("<think>hm</think>", "<div>block</div>", "and <b>bold</b>")


async def test_links_are_shown_and_copied_but_never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    async with running() as run:
        monkeypatch.setattr(run.app, "open_url", lambda url, **_: opened.append(url))
        await run.answer("?", "[here](https://example.org/a'b\")")
        await run.shows("here")
        await run.pilot.click("MarkdownParagraph", offset=(1, 0))
        await run.shows("Copied, not opened", "https://example.org/")
        assert run.app.clipboard.startswith("https://example.org/a")
        assert opened == []


async def test_a_line_end_of_the_model_is_a_line_end() -> None:
    async with running() as run:
        await run.answer("?", "first line\nsecond line")
        await run.until(
            lambda: any(line.strip().startswith("second line") for line in run.screen.split("\n"))
        )


async def test_a_paste_is_cleaned() -> None:
    async with running() as run:
        run.prompt.post_message(events.Paste(f"one\rtwo {HOSTILE}"))
        await run.until(lambda: run.prompt.text)
        assert run.prompt.text.startswith("one\ntwo ␛]0;owned␇")
        assert run.engine.chats == []
        check(run)


async def test_what_comes_into_the_prompt_from_elsewhere_is_harmless() -> None:
    """What was said before, to be said again or in other words: an imported conversation may hold all."""
    async with running() as run:
        await run.answer(f"question {HOSTILE}", "answer")
        await run.settle()
        await run.pilot.press("escape", "up", "e")
        await run.until(lambda: "In other words" in str(run.prompt.border_title))
        assert run.prompt.text.startswith("question ␛]0;owned␇")
        check(run)
        await run.pilot.press("enter")
        await run.until(lambda: not run.prompt.text)
        assert len(run.engine.chats) == 1  # the words are the same: it is no branch
        await run.pilot.press("up")
        assert run.prompt.text.startswith("question ␛]0;owned␇")
        check(run)


async def test_a_huge_paste_is_cut_and_the_screen_goes_on() -> None:
    async with running() as run:
        run.prompt.post_message(events.Paste("many words in a line " * 50_000))
        await run.shows("Pasted the first")
        await run.pilot.press("ctrl+end", "x")
        assert run.prompt.text.endswith("x")


async def test_wide_characters_display_and_edit() -> None:
    async with running(size=(80, 24)) as run:
        await run.type("什么时候修剪苹果树?")
        await run.pilot.press("left", "backspace", "end")
        await run.ask("👨‍👩‍👧")
        run.engine.answer("**二月**,", "最后一次霜冻之后。" * 6)
        await run.shows("什么时候修剪苹果?", "二月,最后一次霜冻之后。")
        assert run.stored()[0][1] == "什么时候修剪苹果?👨‍👩‍👧"
