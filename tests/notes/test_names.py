"""Notes by name, tags, links and backlinks, and suggestions."""

from __future__ import annotations

import pytest

from smallchat.errors import NotesError
from smallchat.notes import names, suggest
from smallchat.notes.index import Index
from smallchat.notes.names import Named
from tests.notes.conftest import Write


@pytest.fixture
def garden(write: Write, index: Index) -> Index:
    write(
        "Garden.md",
        "---\ntags: [garden, trees]\naliases: [Plot]\n---\n# Garden plan\n\nSee [[Boots]] and [[Nowhere]].",
    )
    write("gear/Boots.md", "---\ntags: [gear]\n---\nFor the [[plot]] and [the plan](../Garden.md).")
    write("gear/Gloves.md", "For the garden plan, with boots. `x`\n\n```\nboots\n```")
    write("old/Boots.md", "Thrown away.")
    write("Trees.md", "---\ntags: [trees]\n---\nApple trees, pear trees, pruned in the garden.")
    index.sync()
    return index


def test_a_note_has_many_names(garden: Index) -> None:
    for name in ("Garden", "garden plan", "PLOT", "Garden.md", "[[Garden plan]]", "./Garden.md", "garden.MD"):
        assert names.find(garden, name) == Named("Garden.md", "Garden plan"), name
    assert names.find(garden, "gear/Boots").path == "gear/Boots.md"
    with pytest.raises(NotesError, match=r"2 notes .*gear/Boots\.md, old/Boots\.md"):
        names.find(garden, "Boots")
    with pytest.raises(NotesError, match="Perhaps: Garden plan"):
        names.find(garden, "Gardn plan")
    with pytest.raises(NotesError, match="no note"):
        names.find(garden, "caf\udce9")
    assert names.below(garden, "caf\udce9") == []
    assert [note.path for note in names.below(garden, "gear/")] == ["gear/Boots.md", "gear/Gloves.md"]
    assert names.below(garden, "nix") == []


def test_tags_links_and_backlinks(garden: Index) -> None:
    assert names.tags(garden) == [("trees", 2), ("garden", 1), ("gear", 1)]
    assert names.tags(garden, "Garden.md") == [("trees", 2), ("garden", 1)]
    links = names.links(garden, "Garden.md")
    assert [(link.target, link.line, link.to is not None) for link in links] == [
        ("boots", 7, True),
        ("nowhere", 7, False),
    ]
    back = names.backlinks(garden, "Garden.md")
    assert [(link.path, link.line, link.target) for link in back] == [
        ("gear/Boots.md", 4, "garden"),
        ("gear/Boots.md", 4, "plot"),
    ]


def test_suggestions_are_tags_in_use_and_notes_that_are_named(garden: Index) -> None:
    assert "garden" in suggest.tags_for(garden, "Trees.md")
    assert "trees" not in suggest.tags_for(garden, "Trees.md")
    found = suggest.links_for(garden, "gear/Gloves.md")
    assert [(one.line, one.words, one.note.path) for one in found] == [(1, "garden plan", "Garden.md")]
    with pytest.raises(NotesError):
        suggest.tags_for(garden, "nix.md")
