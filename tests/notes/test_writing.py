"""Writing: never over anything, whole or not at all, in the file's own line ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from smallchat.errors import NotesError
from smallchat.notes import writing
from smallchat.notes.notebook import Notebook, Templates
from smallchat.notes.parse import parse
from smallchat.notes.template import file_path, new_note, safe_name, title_of
from tests.notes.conftest import Write

NOON = time.mktime((2026, 11, 24, 12, 30, 0, 0, 0, -1))


def test_a_new_note_never_takes_anothers_place(root: Path) -> None:
    assert writing.create(root, "a/b.md", "one") == "a/b.md"
    assert writing.create(root, "a/b.md", "two") == "a/b 2.md"
    assert writing.create(root, "a/b.md", "three") == "a/b 3.md"
    assert [(root / f"a/b{n}.md").read_text() for n in ("", " 2", " 3")] == ["one", "two", "three"]
    assert sorted(path.name for path in root.rglob("*.*")) == ["b 2.md", "b 3.md", "b.md"]


def test_without_hard_links_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert writing.create(root, "b.md", "one") == "b.md"
    assert writing.create(root, "b.md", "two") == "b 2.md"
    assert (root / "b.md").read_text() == "one"
    assert (root / "b 2.md").read_text() == "two"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"# A\n\ntext\n", b"# A\n\ntext\n\nmore\nlines\n"),
        (b"# A\n\ntext", b"# A\n\ntext\n\nmore\nlines\n"),
        (b"# A\r\n\r\ntext\r\n", b"# A\r\n\r\ntext\r\n\r\nmore\r\nlines\r\n"),
        (b"\xef\xbb\xbfA\r\nB", b"\xef\xbb\xbfA\r\nB\r\n\r\nmore\r\nlines\r\n"),
        (b"caf\xe9 \xff\n", b"caf\xe9 \xff\n\nmore\nlines\n"),
        (b"A\n\n", b"A\n\nmore\nlines\n"),
        (b"", b"more\nlines\n"),
    ],
)
def test_appending_keeps_every_byte_and_the_line_ends(
    before: bytes, after: bytes, write: Write, root: Path
) -> None:
    file = write("a.md", before)
    change = writing.appended(root, "a.md", "more\r\nlines\n\n")
    assert file.read_bytes() == before
    assert "+more" in change.diff()
    change.apply()
    assert file.read_bytes() == after


def test_a_change_keeps_the_files_rights(write: Write, root: Path) -> None:
    file = write("a.md", "x\n")
    file.chmod(0o640)
    writing.appended(root, "a.md", "y").apply()
    assert file.stat().st_mode & 0o777 == 0o640


def test_what_was_changed_meanwhile_is_not_overwritten(write: Write, root: Path) -> None:
    file = write("a.md", "x\n")
    change = writing.appended(root, "a.md", "y")
    file.write_text("changed in the editor\n")
    with pytest.raises(NotesError, match="changed meanwhile"):
        change.apply()
    assert file.read_text() == "changed in the editor\n"


def test_a_full_disk_leaves_the_note_as_it_was(
    write: Write, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write("a.md", "x\n")
    change = writing.appended(root, "a.md", "y")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotesError, match="Make room"):
        change.apply()
    with pytest.raises(NotesError, match="Make room"):
        writing.create(root, "b.md", "z")
    assert [path.name for path in root.iterdir()] == ["a.md"]
    assert file.read_text() == "x\n"


def test_wide_text_is_refused(write: Write, root: Path) -> None:
    write("wide.md", "text".encode("utf-16"))
    with pytest.raises(NotesError, match="not UTF-8"):
        writing.appended(root, "wide.md", "more")


@pytest.mark.parametrize(
    ("before", "tags"),
    [
        ("# A\n\ntext\n", ["new"]),
        ("---\ntags: [old, older]\n---\ntext\n", ["old", "older", "new"]),
        ("---\ntags: old\ntitle: X\n---\ntext\n", ["old", "new"]),
        ("---\ntags:\n  - old\n  - older\ntitle: X\n---\ntext\n", ["old", "older", "new"]),
        ("---\ntags:\n- old\ntitle: X\n---\ntext\n", ["old", "new"]),
        ("---\ntitle: X\n---\ntext\n", ["new"]),
        ("---\r\ntitle: X\r\n---\r\ntext\r\n", ["new"]),
        ("", ["new"]),
        ('---\ntags: ["#project", "a: b"]\n---\ntext\n', ["project", "a: b", "new"]),
        ("---\ntags: [\n  old,  # a comment\n\n  '- x'\n]\ntitle: X\n---\ntext\n", ["old", "- x", "new"]),
        ("---\ntags:\n  - old\n# a comment\n\n  - older\n\ntitle: X\n---\ntext\n", ["old", "older", "new"]),
        ("---\ntags: # a comment\n- old # one more\n\n# of X\ntitle: X\n---\ntext\n", ["old", "new"]),
        ("---\ntags:\n    old\ntitle: X\n---\ntext\n", ["old", "new"]),
        ("---\ntags:\n  - '#old'\n  - new\n---\ntext\n", ["old", "new"]),
        ("---\ntags: [[old], older]\n---\ntext\n", ["older", "new"]),
        ("---\ntags:\n---\ntext\n", ["new"]),
    ],
)
def test_tags_go_into_the_front_matter(before: str, tags: list[str], write: Write, root: Path) -> None:
    file = write("a.md", before)
    writing.with_tags(root, "a.md", ["new"]).apply()
    text = file.read_bytes().decode()
    assert parse(text.replace("\r\n", "\n"), "a.md").tags == tags
    assert ("title: X" in text) == ("title: X" in before)
    assert before.endswith("text\r\n") == text.endswith("text\r\n")
    assert text.count("\r\n") in (0, text.count("\n"))
    assert text.count("#") >= before.count(": #") + before.count("\n#")  # comments between items stay


def test_tags_beside_what_is_no_text_stay(write: Write, root: Path) -> None:
    before = b"---\ntitle: caf\xe9\ntags:\n- old\n---\ntext\n"
    file = write("a.md", before)
    writing.with_tags(root, "a.md", ["-", "a: b"]).apply()
    assert file.read_bytes() == before.replace(b"- old\n", b'- old\n- "-"\n- "a: b"\n')
    assert parse(file.read_bytes().decode("utf-8", "replace"), "a.md").tags == ["old", "-", "a: b"]


def test_summary_and_links(write: Write, root: Path) -> None:
    file = write("a.md", "---\ntags: [x]\n---\n# Title\n\nWe saw Boots and boots.\n")
    writing.with_summary(root, "a.md", "Short\nand good.").apply()
    assert file.read_text() == (
        "---\ntags: [x]\n---\n# Title\n\n> Summary: Short and good.\n\nWe saw Boots and boots.\n"
    )
    writing.with_links(root, "a.md", [(8, "boots", "Boots")]).apply()
    assert file.read_text().endswith("We saw Boots and [[Boots|boots]].\n")


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("A plan: part 1/2", "A plan part 1 2"),
        ("../../etc/passwd", "etc passwd"),
        ("", "Note"),
        ("...", "Note"),
        ("CON", "_CON"),
        ("[[x]] #tag ^y", "x tag y"),
        ("a\x1b[31m\u202eb\0c\nd", "a 31m b c d"),
        ("花园", "花园"),
        ("\ud800", "Note"),
    ],
)
def test_names_are_safe(title: str, name: str) -> None:
    assert safe_name(title) == name
    assert len(safe_name("花" * 500).encode()) <= 180


def test_templates() -> None:
    assert file_path("Inbox/{date} {title}", "A/B", NOON) == "Inbox/2026-11-24 A B.md"
    assert file_path("../../{title}.md", "x", NOON) == "x.md"
    assert file_path("/", "x", NOON) == "x.md"
    text = new_note("title: {title}\ncreated: {date} {time}", 'Say "hi": now', "Body.\n", NOON)
    assert (
        text
        == '---\ntitle: "Say \\"hi\\": now"\ncreated: 2026-11-24 12:30\n---\n\n# Say "hi": now\n\nBody.\n'
    )
    assert parse(text, "x.md").title == 'Say "hi": now'
    assert new_note("", "T", "", NOON) == "# T\n"
    assert title_of("\n## Prune **it**\nnow") == "Prune **it"
    assert len(title_of("word " * 50)) <= 60


def test_a_notebook_adds_and_keeps_a_diary(root: Path) -> None:
    book = Notebook(root, Templates(name="Inbox/{title}", daily="Diary/{date}", front=""))
    try:
        assert book.add("", "First line.\nSecond.", NOON) == "Inbox/First line.md"
        assert book.daily("Rain.", NOON) == "Diary/2026-11-24.md"
        change = book.daily("Sun.", NOON)
        assert isinstance(change, writing.Change)
        book.apply(change)
        assert (root / "Diary/2026-11-24.md").read_text() == "# 2026-11-24\n\nRain.\n\nSun.\n"
    finally:
        book.close()
