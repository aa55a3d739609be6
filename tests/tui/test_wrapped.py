"""Text that grew looks as it would if it had stood there from the first."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content, Span
from textual.geometry import Offset
from textual.selection import Selection
from textual.style import Style
from textual.visual import RenderOptions

from smallchat.tui.widgets.transcript.wrapped import Wrapped

STYLE = Style.parse("red on blue")
WORDS = st.sampled_from(
    ["a", "bc ", "  ", "word ", "longer-than-a-line", "中文", "文字字字字字字字", "é", "🙂 ", "\n", "\t"]
)
TEXTS = st.lists(WORDS, max_size=30).map("".join)
MARKS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 20), st.sampled_from(["bold", "italic"])), max_size=3
)
STEPS = st.lists(st.tuples(TEXTS, MARKS, st.booleans()), min_size=1, max_size=6)


def options(rules: dict[str, Any], selection: Selection | None = None) -> RenderOptions:
    return RenderOptions(Style.parse, rules, selection, Style.parse("on green"))  # type: ignore[arg-type]


def content(text: str, marks: list[tuple[int, int, str]]) -> Content:
    spans = [Span(at, min(at + size, len(text)), style) for at, size, style in marks if at < len(text)]
    return Content(text, [Span(0, len(text), "underline"), *spans] if text else [])


@given(STEPS, st.integers(3, 20))
def test_each_text_is_drawn_as_if_nothing_had_been_before(steps, width):
    rules: dict[str, Any] = {}
    before: Content = Content("")
    last, text, marks = before, "", []
    for added, marked, grows in steps:
        text, marks = (text + added, marks + marked) if grows else (text[: len(text) // 2] + added, marked)
        plain = content(text, marks)
        wrapped = Wrapped(plain, before)
        expected = plain.render_strips(width, None, STYLE, options(rules))
        assert wrapped.get_height(rules, width) == len(expected)  # type: ignore[arg-type]
        same = last.render_strips(width, None, STYLE, options(rules))[: wrapped.since]
        assert same == expected[: wrapped.since]
        if len(text) % 3:  # not every text is seen
            assert wrapped.render_strips(width, None, STYLE, options(rules)) == expected
        before, last = wrapped, plain


def test_only_lines_that_differ_are_told():
    before = Wrapped(Content("one two three four five six"))
    before.get_height({}, 9)  # type: ignore[typeddict-item]
    after = Wrapped(Content("one two three four five six seven"), before)
    assert after.get_height({}, 9) == 4
    assert after.since == 2


def test_what_is_selected_is_marked_while_the_text_grows():
    before = Wrapped(Content("one two three four"))
    selection = Selection(Offset(0, 0), Offset(7, 0))
    seen = options({}, selection)
    before.render_strips(9, None, STYLE, options({}))
    grown = Content("one two three four five")
    assert Wrapped(grown, before).render_strips(9, None, STYLE, seen) == grown.render_strips(
        9, None, STYLE, seen
    )


def test_texts_that_are_never_seen_are_let_go():
    text = Wrapped(Content("word"))
    text.get_height({}, 9)  # type: ignore[typeddict-item]
    for number in range(3):
        text = Wrapped(Content("word " * (number + 2)), text)
        text.get_height({}, 9)  # type: ignore[typeddict-item]
    assert text._before is None
