"""Code that grows has the colours that it would have if it had stood there from the first."""

from __future__ import annotations

import pytest
from pygments.lexer import Lexer
from textual.highlight import HighlightTheme, highlight

from smallchat.tui.widgets.transcript.colours import LONG, Coloured, colour
from smallchat.tui.widgets.transcript.growing import AnswerFence
from tests.tui.running import running

LINE = "    total += price * {0}  # with 'tax' {0}\n"
PYTHON = "def add(items):\n" + "".join(LINE.format(at) for at in range(2 * LONG)) + "    return total\n"
GO = "func main() {\n" + "".join(f'\tfmt.Println("a\\tb", {at})\n' for at in range(2 * LONG)) + "}\n"
HTML = (
    "<p>\n<script>\n" + "".join(f"let a{at} = `x\n${{{at}}}`;\n" for at in range(LONG)) + "</script>\n</p>\n"
)


def grown(code: str, language: str, step: int = 7) -> Coloured:
    before = None
    for end in range(step, len(code) + step, step):
        before = colour(code[:end].rstrip(), language, HighlightTheme, before)
    assert before is not None
    return before


@pytest.mark.parametrize(
    ("code", "language"),
    [(PYTHON, "python"), (GO, "go"), (PYTHON, "never heard of")],
    ids=["python", "go", "unknown"],
)
def test_grown_code_has_the_colours_of_the_whole(code: str, language: str) -> None:
    found = grown(code, language)
    assert not found.whole
    assert found.spans == colour(code.rstrip(), language, HighlightTheme).spans


def test_as_a_whole_it_is_what_textual_makes_of_it() -> None:
    theirs = highlight(PYTHON.rstrip(), language="python")
    ours = colour(PYTHON.rstrip(), "python", HighlightTheme).content
    assert ours.plain == theirs.plain
    assert [one for one in theirs.spans if one.end <= len(theirs)] == [*ours.spans]


def test_tabs_do_not_move_the_colours() -> None:
    code = 'if x:\n\ty = "text"'
    spans = colour(code, "python", HighlightTheme).spans
    (style,) = {one.style for one in spans if code[one.start] == '"'}
    assert "".join(code[one.start : one.end] for one in spans if one.style == style) == '"text"'


def test_only_the_end_is_looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = Lexer.get_tokens
    monkeypatch.setattr(
        Lexer, "get_tokens", lambda self, text, **more: (seen.append(text), real(self, text, **more))[1]
    )
    before = colour(PYTHON, "python", HighlightTheme)
    seen.clear()
    colour(PYTHON + "x = 1", "python", HighlightTheme, before)
    assert seen == ["    return total\nx = 1"]


def test_the_middle_of_a_text_is_no_place_to_begin_at() -> None:
    code = PYTHON + '\nHELP = """\nfor all\n'
    found = grown(code, "python")
    assert code[found.stops[-1][0] :].startswith("HELP")


def test_without_a_language_it_is_guessed_again_when_there_is_twice_as_much() -> None:
    start = "".join(f"word {at}\n" for at in range(LONG + 2))
    shell = "#!/bin/bash\n" + start
    first = colour(shell, "", HighlightTheme)
    assert first.guessed == "bash"
    more = colour(shell + "one", "", HighlightTheme, first)
    assert not more.whole
    assert colour(shell + shell, "", HighlightTheme, more).whole


def test_other_code_or_another_language_begins_anew() -> None:
    before = colour(PYTHON, "python", HighlightTheme)
    assert colour("x" + PYTHON, "python", HighlightTheme, before).whole
    assert colour(PYTHON, "c", HighlightTheme, before).whole


async def test_an_answer_that_has_ended_has_the_colours_of_the_whole() -> None:
    async with running(size=(100, 30)) as run:
        await run.ask("go?")
        run.engine.say("```html\n" + HTML[:300])
        await run.until(lambda: bool(run.app.screen.query(AnswerFence)))
        fence = run.app.screen.query_one(AnswerFence)
        for start in range(300, len(HTML), 100):
            run.engine.say(HTML[start : start + 100])
            await run.until(lambda end=start + 100: fence.code == HTML[:end].rstrip())  # type: ignore[misc]
        whole = colour(HTML.rstrip(), "html", HighlightTheme).content
        assert fence._content.spans != whole.spans
        run.engine.finish()
        await run.until(lambda: fence._content.spans == whole.spans)
