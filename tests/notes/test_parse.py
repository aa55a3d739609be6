"""What a note says about itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallchat.notes.parse import PASSAGE, Link, parse

NOTE = """---
title: On walking
tags: [outside, long-walks]
aliases:
  - Walks
---
# Walking

Start early. #dawn See [[Boots|my boots]] and [maps](../Maps%20of%20home.md#north).

## Routes

### North
By the lake [[Lake#Shore]].

```sh
# no heading, [[no link]] and #no-tag
```

South
-----
Over the hill #hill/top.
"""


def test_front_matter_tags_links_and_passages_by_heading() -> None:
    note = parse(NOTE, "x/walk.md")
    assert (note.title, note.aliases) == ("On walking", ["Walks"])
    assert note.tags == ["outside", "long-walks", "dawn", "hill/top"]
    assert note.links == [Link("Boots", 9), Link("Maps of home", 9), Link("Lake", 14)]
    assert [(passage.headings, passage.first, passage.last) for passage in note.passages] == [
        (("Walking",), 7, 9),
        (("Walking", "Routes", "North"), 13, 18),
        (("Walking", "South"), 20, 22),
    ]
    lines = NOTE.split("\n")
    for passage in note.passages:
        assert passage.text.split("\n") == lines[passage.first - 1 : passage.last]


def test_the_title_is_the_first_heading_or_the_files_name() -> None:
    assert parse("# A title\n\ntext", "file.md").title == "A title"
    assert parse("# A title\n\ntext", "file.md").passages[0].headings == ()
    assert parse("just text", "folder/My file.md").title == "My file"
    assert parse("", "empty.md").passages[0].text == ""
    assert parse("# Only a heading\n", "x.md").passages[0].text == "# Only a heading"


def test_long_sections_are_divided_and_nothing_is_lost() -> None:
    text = "# Long\n\n" + "\n\n".join(f"Paragraph {i} " + "word " * 60 for i in range(40)) + "\n" + "x" * 9000
    passages = parse(text, "long.md").passages
    assert len(passages) > 5
    assert all(len(passage.text) <= 2 * PASSAGE + 100 for passage in passages)
    joined = "".join(passage.text for passage in passages).replace("\n", "")
    assert joined == text.replace("\n", "")


@pytest.mark.parametrize(
    ("front", "title"),
    [
        ("title: On walking: a list", "On walking: a list"),
        ("title: [a, b]", "file"),
        ("{{{{", "file"),
        ("[" * 5000, "file"),
        ("&a [*a]", "file"),
        ("? [x]\n: y", "file"),
        ('title: "quoted: yes"', "quoted: yes"),
    ],
)
def test_front_matter_that_is_odd_or_hostile(front: str, title: str) -> None:
    note = parse(f"---\n{front}\n---\nThe text.", "file.md")
    assert note.title == title
    assert note.passages[-1].text == "The text."


def test_a_bomb_of_yaml_aliases_costs_nothing() -> None:
    bomb = "\n".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(12)
    )
    note = parse(f"---\na: &a [x]\n{bomb}\ntags: *m\n---\ntext", "bomb.md")
    assert note.tags == []


@given(st.text(alphabet="#-=>`~[]|()\n \tab1:*", max_size=400))
def test_any_text_is_understood_somehow_and_its_lines_are_right(text: str) -> None:
    lines = text.split("\n")
    note = parse(text, "x.md")
    assert note.passages
    for passage in note.passages:
        assert 1 <= passage.first <= passage.last <= max(1, len(lines))
        if passage.text:
            assert passage.text.split("\n") == lines[passage.first - 1 : passage.last]
