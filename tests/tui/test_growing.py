"""Answers grow in place: what stands on the screen while text streams is what the whole text would show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content
from textual.widgets._markdown import MarkdownListItem

from smallchat.tui.widgets.transcript.growing import AnswerFence, AnswerParagraph, Code, ahead
from smallchat.tui.widgets.transcript.markdown import AGAIN, AnswerMarkdown, _parser
from tests.tui.running import Running, running

LONG = "word " * 60
TEXTS = {
    "paragraphs": f"First, {LONG}\n\nthen {LONG}\n\nand the end.",
    "bullets": f"Look:\n\n- one\n- two {LONG}\n- three\n  - inner\n  - more\n\n  more of it\n- four\n\nDone.",
    "numbers": "\n".join(f"{number}. item **{number}** with words" for number in range(1, 13)) + "\n\nDone.",
    "from eight": "8. eight\n9. nine\n10. ten\n11. eleven",
    "code in a list": "- see\n\n  ```python\n  a = 1\n  b = 2\n  ```\n- next\n\n> quoted\n> more",
    "mixed": "- a\n- b\n\n1. c\n2. d\n\n# Title\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\nlast",
    "long": "\n".join(f"- item {number} with `code`" for number in range(30))
    + "\n  - inner\n- last\n\nDone.",
    "numbers within": "\n".join(f"1. item {number}\n   - a\n   - b" for number in range(12)) + "\n\nDone.",
    "no item after all": "- a\n- b\n- c\n--\n- d\n- e\n* * *\n* f\n* g\n* h\n\nDone.",
    "loose": "- a\n\n- b\n\n- c\n\n  second paragraph\n\n- d",
}


def shown(run: Running) -> list[str]:
    """The lines of the last answer."""
    lines = run.screen.split("\n")
    begin = max(at for at, line in enumerate(lines) if "go?" in line)
    return [
        line[:76].rstrip() for line in lines[begin + 1 :] if "Esc stops" not in line and "seed 7" not in line
    ]


PIECES = (
    "- a\n|-|- |--\n|*|* b\n|1. c\n|2) d\n|  - e\n|   |\n|text|# t\n|```\n|> q\n|---\n|===\n|- - f\n|    g\n"
)


@given(st.lists(st.sampled_from(PIECES.split("|")), min_size=1, max_size=25))
def test_what_is_read_again_of_a_list_is_what_the_whole_says_of_it(pieces: list[str]) -> None:
    parser, text = _parser(), "".join(pieces)
    tokens = parser.parse(text)
    block = next((token for token in reversed(tokens) if token.map and not token.level), None)
    if block is None or block.map is None or not block.type.endswith("list_open"):
        return
    items = [t for t in tokens[tokens.index(block) :] if t.type == "list_item_open" and t.level == 1]
    start = items[-AGAIN:][0].map
    if len(items) <= AGAIN or start is None:
        return
    for more in ("", "-", "- x", "\n- x", "\n\nend", "  more", "\n* x", "\n2. x", "\n---\n"):
        whole = parser.parse(text + more)
        again = parser.parse("".join((text + more).splitlines(keepends=True)[start[0] :]))
        kinds = [(token.type, token.content, token.level) for token in again]
        assert again[0].type == block.type
        assert kinds[1:] == [(token.type, token.content, token.level) for token in whole][1 - len(kinds) :]


async def test_of_a_long_list_only_its_end_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    real = MarkdownListItem.__init__
    monkeypatch.setattr(
        MarkdownListItem, "__init__", lambda self, *args: (made.append(self), real(self, *args))[1]
    )
    async with running(size=(120, 60)) as run:
        await run.ask("go?")
        for number in range(1, 31):
            run.engine.say(f"{number}. item\n")
            await run.shows(f"{number}. item")
        made.clear()
        run.engine.say("31. the last")
        await run.shows("31. the last")
        assert len(made) <= AGAIN + 1


@pytest.mark.parametrize("name", TEXTS)
async def test_streamed_in_pieces_it_looks_as_it_does_whole(name: str) -> None:
    text = TEXTS[name]
    async with running(size=(120, 60)) as run:
        await run.answer("go?", text)
        await run.settle()
        whole = shown(run)
        await run.pilot.press("ctrl+n")
        await run.ask("go?")
        clock = run.chat.clock
        assert clock is not None
        await run.until(lambda: not clock._due)
        clock._due = True  # this test ticks itself; as in the app, never two at once
        for start in range(0, len(text), 5):
            run.engine.say(text[start : start + 5])
            await run.chat.tick()
            if start % 100 == 0:
                await run.pilot.pause()
        run.engine.finish()
        await run.until(lambda: not run.chat.dialogue.busy)
        clock._due = False
        run.chat.wake()
        await run.settle()
        assert shown(run) == whole


async def test_a_paragraph_takes_lines_ahead_only_while_it_grows() -> None:
    async with running(size=(120, 60)) as run:
        await run.ask("go?")
        run.engine.say(LONG)
        await run.shows("word")
        run.engine.say(LONG)
        paragraph = run.app.screen.query_one(AnswerParagraph)
        await run.until(lambda: paragraph.size.height > 5)
        needed = len([line for line in run.screen.split("\n") if "word" in line])
        await run.until(lambda: paragraph.size.height == needed + ahead(paragraph.size.width))
        run.engine.finish()
        await run.until(lambda: paragraph.size.height == needed)


async def test_while_it_grows_a_paragraph_shows_all_that_was_said() -> None:
    text = LONG + "**two words** and 中文字字字字字字字字字字字字字字字字字字字字字字字字字字字 " + LONG
    async with running(size=(120, 60)) as run:
        await run.ask("go?")
        for start in range(0, len(text), 30):
            run.engine.say(text[start : start + 30])
            await run.until(
                lambda end=start + 30: (
                    (found := run.app.screen.query(AnswerMarkdown)) and found.last().source == text[:end]
                )
            )
            await run.settle_frames()
            paragraph = run.app.screen.query(AnswerParagraph).last()
            drawn = [line.text.rstrip() for line in paragraph.render_lines(paragraph.size.region)]
            assert [*filter(None, drawn)] == wrapped(paragraph)
        run.engine.finish()


def wrapped(paragraph: AnswerParagraph) -> list[str]:
    """The lines of its text, as Textual wraps it from the first word on."""
    content = paragraph.content
    assert isinstance(content, Content)
    lines = Content(content.plain)._wrap_and_format(paragraph.content_size.width)
    return [line.plain.rstrip() for line in lines]


async def test_a_list_that_grows_keeps_its_items() -> None:
    async with running() as run:
        await run.ask("go?")
        run.engine.say("- one\n- two\n")
        await run.shows("two")
        before = list(run.app.screen.query_one(AnswerMarkdown).children[0].children)
        run.engine.say("- three\n- fo")
        await run.shows("fo")
        run.engine.say("ur")
        await run.shows("four")
        after = list(run.app.screen.query_one(AnswerMarkdown).children[0].children)
        assert after[:2] == before
        assert len(after) == 4


async def test_a_line_more_of_text_is_not_laid_out_twice_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(size=(120, 60)) as run:
        await run.ask("go?")
        run.engine.say(LONG)
        await run.shows("word")
        await run.settle_frames()
        laid: list[int] = []
        compositor = run.app.screen._compositor
        original = compositor.reflow
        monkeypatch.setattr(compositor, "reflow", lambda *args: (laid.append(1), original(*args))[1])
        run.engine.say(" end")
        await run.shows("end")
        assert laid == []


async def test_an_answer_that_goes_on_after_a_list_keeps_the_list() -> None:
    async with running() as run:
        await run.ask("go?")
        run.engine.say("intro\n\n- one\n- two\n")
        await run.shows("two")
        run.engine.finish("cancelled")
        await run.until(lambda: not run.chat.dialogue.busy)
        view = AnswerMarkdown(run.turns[-1].content)
        await run.transcript._turns.mount(view)
        await view.write("- three\n")
        await run.settle_frames()
        assert run.screen.count("• one") == run.screen.count("• two") == 2
        assert run.screen.count("• three") == 1


async def test_a_line_of_code_that_goes_on_is_not_wrapped_and_has_a_bar() -> None:
    long = f"\tfmt.Println({'word ' * 20}END)"
    text = f"```go\nfunc main() {{\n{long}\n}}\n```\n\n```go\nx := 1\n```\n"
    async with running(size=(80, 30)) as run:
        await run.answer("go?", text)
        await run.settle()
        first, second = run.app.screen.query(AnswerFence)
        assert first.show_horizontal_scrollbar
        assert not second.show_horizontal_scrollbar
        assert (
            len(first.query_one(Code).content.plain.split("\n")) == first.query_one(Code).content_size.height
        )
        assert "END" not in run.screen
        first.scroll_to(x=first.max_scroll_x, animate=False)
        await run.shows("END)")
