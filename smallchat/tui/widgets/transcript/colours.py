"""The colours of code, of which only the end is looked at anew while it grows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pygments.lexer import Lexer
from pygments.token import Comment, String, Text, _TokenType
from textual.content import Content, Span
from textual.highlight import HighlightTheme, guess_language

LONG = 40
"""Lines of code that are always looked at as a whole: it takes 4 ms."""

Theme = type[HighlightTheme]


@dataclass(frozen=True, slots=True)
class Coloured:
    """Code in colours, and what is needed to go on from there."""

    code: str
    language: str
    """As its fence has it."""
    guessed: str
    """The one that was taken; the same where the fence has one."""
    guessed_from: int
    """Characters of code that were looked at to find it."""
    theme: Theme
    spans: list[Span]
    stops: list[tuple[int, int]]
    """Places behind a line from which on a lexer may begin anew, and how many spans stand before each."""
    whole: bool
    """All of it was looked at at once: elsewhere colours may be wrong that depend on lines far before."""

    @property
    def content(self) -> Content:
        """What is shown."""
        return Content(self.code, self.spans).stylize_before("$text")


def colour(code: str, language: str, theme: Theme, before: Coloured | None = None) -> Coloured:
    """The code in colours; `language` may be empty or unknown. Where it goes on from what is coloured in
    `before`, its first lines keep the colours that they have there.
    """
    code = "\n".join(code.splitlines())
    stop = kept = 0
    if before is not None and (before.language, before.theme) == (language, theme):
        stop, kept = _common(code, before)
    if before is None or not stop:
        guessed, looked_at = language or guess_language(code, None), len(code)
        spans: list[Span] = []
        stops: list[tuple[int, int]] = []
    else:
        guessed, looked_at = before.guessed, before.guessed_from
        spans = before.spans[:kept]
        stops = [known for known in before.stops if known[0] <= stop]
    _look(code, stop, _lexer(guessed), theme, spans, stops)
    return Coloured(code, language, guessed, looked_at, theme, spans, stops, whole=not stop)


def _common(code: str, before: Coloured) -> tuple[int, int]:
    """The last of the stops of `before` up to which `code` is the same; (0, 0): begin anew."""
    if code.count("\n") < LONG:
        return 0, 0
    if not before.language and len(code) > 2 * before.guessed_from:
        return 0, 0  # time to guess again
    return next(
        (known for known in reversed(before.stops) if code.startswith(before.code[: known[0]])), (0, 0)
    )


def _look(
    code: str, start: int, lexer: Lexer, theme: Theme, spans: list[Span], stops: list[tuple[int, int]]
) -> None:
    """Add the spans, and the stops, of the code from `start` on."""
    styles = theme.STYLES
    for kind, token in lexer.get_tokens(code[start:]):
        end = min(start + len(token), len(code))
        if style := _style(kind, styles):
            spans.append(Span(start, end, style))
        behind = code.rfind("\n", start, end) + 1
        if behind and not _is(kind, String, Comment) and (behind == end or _is(kind, Text)):
            stops.append((behind, len(spans)))
        start = end


def _is(kind: _TokenType, *kinds: _TokenType) -> bool:
    return any(kind[: len(one)] == one for one in kinds)


def _style(kind: _TokenType | None, styles: dict[tuple[str, ...], str]) -> str | None:
    while kind is not None:
        if style := styles.get(kind):
            return style
        kind = kind.parent
    return None


@lru_cache(maxsize=16)
def _lexer(language: str) -> Lexer:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    options = {"stripnl": False, "ensurenl": True}
    try:
        return get_lexer_by_name(language, **options)
    except ClassNotFound:
        return get_lexer_by_name("text", **options)
