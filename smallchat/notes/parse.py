"""What a note says about itself: title, front matter, tags, links, and its passages by heading.

Our own scanner of lines, because a Markdown parser takes milliseconds a note and gives no more than this:
10,000 notes must be read in seconds. Lines are numbered from 1, as editors number them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import yaml

PASSAGE = 1200
"""Characters after which a section is divided at the next empty line; no passage is twice as long."""
HEADING = 200
"""Characters of a heading that are kept; the whole of it is in its passage."""
FRONT_LINES = 200

_TAG = re.compile(r"(?<![\w/#&\]])#([\w/-]{1,100})")
_WIKI = re.compile(r"\[\[([^\[\]\n|#^]{1,200})(?:[#^][^\[\]\n|]{0,200})?(?:\|([^\[\]\n]{0,200}))?\]\]")
_LOCAL = re.compile(r"\]\(<?([^()\s<>]{1,300}\.(?:md|markdown))(?:#[^()\s<>]{0,200})?>?\)", re.IGNORECASE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True, slots=True)
class Link:
    """A link to another note, by the name it is given, and where it stands."""

    target: str
    line: int


@dataclass(slots=True)
class Passage:
    """Lines of one section: `headings` leads to it from the top, without the note's own title."""

    headings: tuple[str, ...]
    first: int
    last: int
    text: str


@dataclass(slots=True)
class Parsed:
    """One note, understood."""

    title: str
    aliases: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)


def stem(path: str) -> str:
    """The name of a note's file, without folder and ending."""
    return PurePosixPath(path).stem


def parse(text: str, path: str) -> Parsed:
    """Understand a note's text (lines end with a newline alone). Raises nothing, whatever the text is."""
    lines = text.split("\n")
    front, begin = front_matter(lines)
    note = Parsed(
        title=_first(front.get("title")) or "", aliases=_words(front, "aliases", "alias", split=False)
    )
    tags = dict.fromkeys(tag.lstrip("#") for tag in _words(front, "tags", "tag", split=True))
    trail: list[tuple[int, str]] = []
    section: list[tuple[int, str]] = []
    top = ""
    for number, line, level, heading in _scan(lines, begin):
        if level > 0:
            note.passages += _divide(trail, section)
            section = []
            del trail[next((i for i, (above, _) in enumerate(trail) if above >= level), len(trail)) :]
            top = top or (heading if level == 1 else "")
            trail.append((level, heading))
        section.append((number, line))
        if level >= 0:  # code holds "#" and "[[" of its own
            tags |= dict.fromkeys(
                match[1].rstrip("/-") for match in _TAG.finditer(line) if not level and _is_tag(match[1])
            )
            note.links += [Link(match[1].strip(), number) for match in _WIKI.finditer(line)]
            note.links += [Link(stem(unquote(match[1])), number) for match in _LOCAL.finditer(line)]
    note.passages += _divide(trail, section)
    note.title = " ".join((note.title or top or stem(path)).split())[:200]
    note.tags = [tag for tag in tags if tag]
    for passage in note.passages:
        if passage.headings and " ".join(passage.headings[0].split()) == note.title:
            passage.headings = passage.headings[1:]
    if not note.passages:
        rest = list(enumerate(lines[begin:], begin + 1))
        note.passages = list(_passage((), rest)) or [Passage((), 1, 1, "")]
    return note


def front_matter(lines: list[str]) -> tuple[dict[str, Any], int]:
    """The front matter (empty where there is none), and the index of the first line after it."""
    if not lines or lines[0].rstrip() != "---":
        return {}, 0
    for end in range(1, min(len(lines), FRONT_LINES)):
        if lines[end].rstrip() in ("---", "..."):
            break
    else:
        return {}, 0
    try:
        found = yaml.load("\n".join(lines[1:end]), Loader=_LOADER)
    except (yaml.YAMLError, ValueError, RecursionError):
        found = _plain_pairs(lines[1:end])  # as `title: On walking: a list`, which is no YAML
    return (found if isinstance(found, dict) else {}), end + 1


def _plain_pairs(lines: list[str]) -> dict[str, Any]:
    return {
        key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon
    }


def _first(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _words(front: dict[str, Any], *names: str, split: bool) -> list[str]:
    """A list, or one text of several words."""
    for name in names:
        value = front.get(name)
        if isinstance(value, str):
            return [word for word in (re.split(r"[,\s\[\]]+", value) if split else [value.strip()]) if word]
        if isinstance(value, list):
            return [word.strip() for word in value if isinstance(word, str) and word.strip()]
    return []


def _is_tag(text: str) -> bool:
    return any(character.isalpha() for character in text)


def _scan(lines: list[str], begin: int) -> Iterator[tuple[int, str, int, str]]:
    """(number, line, level, heading) of every line; level 0: text, -1: code."""
    fence = ""
    for index in range(begin, len(lines)):
        line = lines[index]
        mark = _FENCE.match(line)
        if fence:
            yield index + 1, line, -1, ""
            if mark and mark[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
        elif mark:
            fence = mark[1]
            yield index + 1, line, -1, ""
        else:
            level, heading = _heading(line, lines[index + 1] if index + 1 < len(lines) else "")
            yield index + 1, line, level, heading


def _heading(line: str, following: str) -> tuple[int, str]:
    """Level and text of a heading (`# …`, or underlined); 0: it is none."""
    text = line.strip()
    if text.startswith("#") and len(line) - len(line.lstrip(" ")) < 4:
        words = text.lstrip("#")
        level = len(text) - len(words)
        if level <= 6 and (not words or words[0] in " \t"):
            return level, words.strip().rstrip("#").strip()
    under = following.strip()
    if text and len(under) >= 2 and len(text) < 200 and text[0] not in "-*+>|#=<":
        if not under.strip("="):
            return 1, text
        if not under.strip("-") and not following.startswith("    "):
            return 2, text
    return 0, ""


def _divide(trail: list[tuple[int, str]], section: list[tuple[int, str]]) -> Iterator[Passage]:
    """A section as passages; one that holds nothing but its heading is none."""
    headings = tuple(text[:HEADING] for _, text in trail if text)
    said = [line for _, line in section if line.strip(" \t=-")]
    if not said or (trail and len(said) == 1 and trail[-1][1] == said[0].strip("# \t")):
        return
    held: list[tuple[int, str]] = []
    size = 0
    for number, line in section:
        for start in range(0, max(1, len(line)), 2 * PASSAGE):
            piece = line[start : start + 2 * PASSAGE]
            if size + len(piece) > 2 * PASSAGE or (size >= PASSAGE and not line.strip()):
                yield from _passage(headings, held)
                held, size = [], 0
            held.append((number, piece))
            size += len(piece) + 1
    yield from _passage(headings, held)


def _passage(headings: tuple[str, ...], held: list[tuple[int, str]]) -> Iterator[Passage]:
    while held and not held[0][1].strip():
        held.pop(0)
    while held and not held[-1][1].strip():
        held.pop()
    if held:
        yield Passage(headings, held[0][0], held[-1][0], "\n".join(line for _, line in held))
